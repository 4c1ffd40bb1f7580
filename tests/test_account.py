"""The account's plan, quota and credit, and its social profiles: client and sandbox together over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from qlara_async import Credit, QlaraClient, Subscription
from qlara_async.errors import BadGatewayError, ConfigurationError, NotFoundError, UndecodableAnswerError
from qlara_async.sandbox import Sandbox

from .wire import WireGateway, answer

pytestmark = pytest.mark.anyio

PREFIX = "/api/v1/partner-gateway"


@pytest.fixture
async def sandbox(anyio_backend: str) -> AsyncIterator[Sandbox]:
    async with Sandbox(rate_limit=None) as sandbox:
        yield sandbox


@pytest.fixture
async def account(sandbox: Sandbox) -> AsyncIterator[QlaraClient]:
    async with QlaraClient(sandbox.api_key, base_url=sandbox.url, rate_limit=None) as qlara:
        yield qlara


class TestSubscription:
    async def test_the_plan(self, account: QlaraClient, sandbox: Sandbox) -> None:
        plan = await account.subscription.get()
        assert (plan.plan, plan.status, plan.canceled, plan.next_plan) == ("PRO_MONTHLY", "ACTIVE", False, plan.plan)
        assert plan.period_end == plan.next_renew == plan.raw["nextRenew"]
        sandbox.platform.account.subscription = None
        with pytest.raises(NotFoundError):
            await account.subscription.get()

    async def test_the_plan_as_the_use_case_shows_it(self, qlara: QlaraClient, gateway: WireGateway) -> None:
        gateway.default = answer(
            200,
            b'{"subscriptionId": "sub_1", "plan": "PRO", "status": "ACTIVE", "startDate": "2026-01-01", '
            b'"endDate": "2026-12-31", "autoRenew": true, "features": {"sms": true, "maxContacts": 50000}}',
        )
        plan = await qlara.subscription.get()
        assert (plan.id, plan.plan, plan.period_end, plan.auto_renew) == ("sub_1", "PRO", "2026-12-31", True)
        assert plan.features["maxContacts"] == 50_000
        assert gateway.seen[0].target == f"{PREFIX}/subscription"

    async def test_the_quota_counts_the_contacts(self, account: QlaraClient, sandbox: Sandbox) -> None:
        await account.contacts.create(email="a@b.it")
        sandbox.platform.account.extra_limit = 500
        quota = await account.subscription.contacts()
        assert (quota.plan_limit, quota.extra_limit, quota.total_limit) == (5000, 500, 5500)
        assert (quota.used, quota.remaining) == (1, 5499)

    async def test_the_credit_and_what_is_left_of_it(self, account: QlaraClient, sandbox: Sandbox) -> None:
        sandbox.credit, sandbox.platform.account.frozen_credit = 10.5, 4.0
        credit = await account.subscription.credit()
        assert (credit.credit, credit.frozen, credit.available) == (10.5, 4.0, 6.5)

    async def test_a_credit_that_comes_otherwise_is_read_as_far_as_it_goes(
        self, qlara: QlaraClient, gateway: WireGateway
    ) -> None:
        gateway.script = [answer(200, b'{"data": {"credit": "3.5", "availableCredit": null}}'), answer(200, b"[]")]
        credit = await qlara.subscription.credit()
        assert (credit.credit, credit.available) == (3.5, None)
        with pytest.raises(UndecodableAnswerError):
            await qlara.subscription.credit()

    async def test_a_system_that_is_down_is_asked_again_and_then_told(
        self, qlara: QlaraClient, gateway: WireGateway
    ) -> None:
        gateway.script = [answer(502), answer(200, b'{"credit": 1}')]
        assert (await qlara.subscription.credit()).credit == 1.0
        gateway.default = answer(502)
        with pytest.raises(BadGatewayError):
            await qlara.subscription.credit()


class TestSocials:
    async def test_profiles_are_listed_and_read_with_their_pages(self, account: QlaraClient, sandbox: Sandbox) -> None:
        sandbox.platform.account.connect("facebook", {"id": "p1", "name": "ACME Italia"})
        sandbox.platform.account.connect("tiktok", disconnected=True)
        found = [profile async for profile in account.socials.list()]
        assert [(item.platform, item.disconnected, item.page_count) for item in found] == [
            ("facebook", False, 1),
            ("tiktok", True, 0),
        ]
        assert [profile.pages for profile in found] == [(), ()]
        profile = await account.socials.get("facebook")
        assert (profile.name, profile.username, profile.pages) == ("ACME", "acme_facebook", profile.pages)
        assert profile.pages[0]["name"] == "ACME Italia"
        assert len([item async for item in account.socials.list(limit=1)]) == 1

    async def test_profiles_as_the_use_case_shows_them(self, qlara: QlaraClient, gateway: WireGateway) -> None:
        gateway.default = answer(
            200,
            b'{"profiles": [{"platform": "whatsapp", "profileId": "p", "name": "ACME", "status": "TOKEN_EXPIRED", '
            b'"tokenExpiresAt": "2026-05-01T00:00:00Z"}], "total": 1}',
        )
        (profile,) = [item async for item in qlara.socials.list()]
        assert (profile.id, profile.name, profile.status) == ("p", "ACME", "TOKEN_EXPIRED")
        assert profile.token_expires_at == "2026-05-01T00:00:00Z"

    async def test_a_platform_never_changes_the_path(self, qlara: QlaraClient, gateway: WireGateway) -> None:
        await qlara.socials.get("../subscription")
        assert gateway.seen[0].target == f"{PREFIX}/socials/..%2Fsubscription"
        for bad in ("", ".."):
            with pytest.raises(ConfigurationError):
                await qlara.socials.get(bad)
        assert len(gateway.seen) == 1

    async def test_one_that_is_not_connected_is_a_404(self, account: QlaraClient) -> None:
        with pytest.raises(NotFoundError):
            await account.socials.get("myspace")


def test_g11_a_repr_tells_nothing_of_whose_account_it_is() -> None:
    assert repr(Credit(credit=3.5)) == "Credit(credit=3.5, frozen=None, available=None)"
    assert repr(Subscription(id="sub_1", plan="PRO")) == "Subscription(plan='PRO', status=None, period_end=None)"
