"""Campaigns, client and sandbox together over real HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest

from qlara_async import CampaignStatus, QlaraClient, SendingMode
from qlara_async.errors import (
    BadRequestError,
    ConfigurationError,
    ConnectionFailed,
    InternalServerError,
    NotFoundError,
    NotSentError,
)
from qlara_async.sandbox import Fault, Sandbox
from qlara_async.testing.clock import VirtualClock

from .wire import WireGateway, answer, drop

pytestmark = pytest.mark.anyio

CAMPAIGNS = "/api/partner-gateway/v1/campaigns"
NUMBERS = ["+393401234567", "+393401234568"]
READY: dict[str, Any] = {
    "sending_mode": "sms",
    "sms_sender": "ACME",
    "sms_body": "Ciao {{firstName}}",
    "destinations": NUMBERS,
    "ready_to_send": True,
}


@pytest.fixture
async def sandbox(clock: VirtualClock) -> AsyncIterator[Sandbox]:
    async with Sandbox(rate_limit=None, clock=clock) as sandbox:
        yield sandbox


@pytest.fixture
async def account(sandbox: Sandbox) -> AsyncIterator[QlaraClient]:
    async with QlaraClient(sandbox.api_key, base_url=sandbox.url, rate_limit=None) as qlara:
        yield qlara


async def names(listing: Any) -> list[str]:
    return [campaign.name async for campaign in listing]


def now(clock: VirtualClock) -> datetime:
    return datetime.fromtimestamp(clock.time(), UTC)


async def test_a_campaign_is_made_priced_and_confirmed(account: QlaraClient, sandbox: Sandbox) -> None:
    made = await account.campaigns.create("Saldi", **READY)
    assert (made.status, made.sending_mode) == (CampaignStatus.READY, SendingMode.SMS)
    assert (made.destination_type, made.destinations) == (2, tuple(NUMBERS))
    goal = await account.campaigns.calculate_goal(made.id)
    assert (goal.total_contacts, goal.estimated_cost, goal.currency) == (2, 0.1, "EUR")
    assert (await account.campaigns.price(made.id)).price == 0.1
    await account.campaigns.confirm(made.id)
    done = await account.campaigns.get(made.id)
    assert (done.status, done.total_destinations, done.total_success, done.total_failed) == (3, 2, 2, 0)
    assert sandbox.platform.campaigns.confirmed == [made.id]


async def test_recipients_are_those_on_the_lists_each_once(account: QlaraClient) -> None:
    people = [await account.contacts.create(phone_number=number) for number in NUMBERS]
    lists = [await account.contact_lists.create(name) for name in ("A", "B")]
    await account.contact_lists.add([one.id for one in lists], [one.id for one in people])
    made = await account.campaigns.create("Saldi", contact_list_ids=[one.id for one in lists])
    assert (made.destination_type, made.contact_list_ids) == (1, tuple(one.id for one in lists))
    assert (await account.campaigns.calculate_goal(made.id)).total_contacts == 2


@pytest.mark.parametrize(
    ("lacking", "word"),
    [
        ({"ready_to_send": False}, "readyToSend"),
        ({"sms_body": None, "ready_to_send": None}, "readyToSend"),
        ({"goal": False}, "goal"),
        ({"credit": 0.05}, "credit"),
    ],
)
async def test_what_is_not_ready_is_not_confirmed(
    account: QlaraClient, sandbox: Sandbox, lacking: dict[str, Any], word: str
) -> None:
    fields = {name: value for name, value in {**READY, **lacking}.items() if name not in {"goal", "credit"}}
    sandbox.credit = lacking.get("credit", sandbox.credit)
    made = await account.campaigns.create("Saldi", **fields)
    if lacking.get("goal", True):
        await account.campaigns.calculate_goal(made.id)
    with pytest.raises(BadRequestError, match=word):
        await account.campaigns.confirm(made.id)
    assert sandbox.platform.campaigns.confirmed == []


async def test_a_change_wants_the_goal_calculated_anew_and_comes_too_late_in_the_end(account: QlaraClient) -> None:
    made = await account.campaigns.create("Saldi", **READY)
    await account.campaigns.calculate_goal(made.id)
    changed = await account.campaigns.update(made.id, name="Saldi!", destinations=NUMBERS[:1])
    assert (changed.name, changed.destinations, changed.sms_body) == ("Saldi!", (NUMBERS[0],), made.sms_body)
    with pytest.raises(BadRequestError, match="goal"):
        await account.campaigns.confirm(made.id)
    await account.campaigns.calculate_goal(made.id)
    await account.campaigns.confirm(made.id)
    for refused in (account.campaigns.update(made.id, name="x"), account.campaigns.confirm(made.id)):
        with pytest.raises(BadRequestError):
            await refused
    with pytest.raises(NotFoundError):
        await account.campaigns.delete(made.id)


async def test_a_scheduled_campaign_is_cancelled_by_deleting_it(account: QlaraClient, clock: VirtualClock) -> None:
    when = (now(clock) + timedelta(days=1)).astimezone(timezone(timedelta(hours=2)))
    made = await account.campaigns.create("Saldi", scheduled_date=when, **READY)
    assert made.scheduled_date == f"{when:%Y-%m-%d %H:%M:%S}.000+0200"
    await account.campaigns.calculate_goal(made.id)
    await account.campaigns.confirm(made.id)
    assert await names(account.campaigns.list(is_programmed=True)) == ["Saldi"]
    await account.campaigns.delete(made.id)
    with pytest.raises(NotFoundError):
        await account.campaigns.get(made.id)


async def test_campaigns_are_listed_by_page_and_filter(account: QlaraClient, clock: VirtualClock) -> None:
    for number in range(25):
        await account.campaigns.create(f"N{number:02}", description="estate" if number % 2 else None)
    await account.campaigns.create("Saldi", **READY)
    await clock.advance(2 * 86_400)
    await account.campaigns.create("Dopo", sending_mode="RCS_SMS")
    assert len(await names(account.campaigns.list())) == 27
    assert await names(account.campaigns.list(search="ESTATE", limit=2)) == ["N01", "N03"]
    assert await names(account.campaigns.list(direction="DESC", limit=1)) == ["Dopo"]
    assert await names(account.campaigns.list(sending_modes=["RCS_SMS", SendingMode.SMS])) == ["Saldi", "Dopo"]
    assert await names(account.campaigns.list(ready_to_send=True)) == ["Saldi"]
    assert await names(account.campaigns.list(is_draft=False)) == ["Saldi"]
    today = now(clock).date()
    assert await names(account.campaigns.list(start_date=today, end_date=today)) == ["Dopo"]


async def test_statistics_come_in_buckets(account: QlaraClient, clock: VirtualClock) -> None:
    days = []
    for number in range(3):
        made = await account.campaigns.create("Saldi", **READY)
        if number < 2:
            await account.campaigns.calculate_goal(made.id)
            await account.campaigns.confirm(made.id)
        days.append(now(clock).date())
        await clock.advance(86_400)
    found = [one async for one in account.campaigns.stats(days[0], days[2], aggregate_on="day")]
    assert [(one.date, one.sent, one.delivered, one.failed) for one in found] == [
        (day.isoformat(), sent, sent, 0) for day, sent in zip(days, (2, 2, 0), strict=True)
    ]
    assert [one.sent async for one in account.campaigns.stats(days[0], days[2], aggregate_on="month")] == [4]
    assert [one async for one in account.campaigns.stats(days[0], days[2], sending_mode="RCS")] == []
    with pytest.raises(BadRequestError):
        [one async for one in account.campaigns.stats(days[2], days[0])]


# --- confirming


@pytest.mark.parametrize("fault", [Fault.ERROR_AFTER, Fault.DROP_AFTER, Fault.ERROR_BEFORE])
async def test_a_confirmation_is_never_repeated_by_itself(account: QlaraClient, sandbox: Sandbox, fault: Fault) -> None:
    made = await account.campaigns.create("Saldi", **READY)
    await account.campaigns.calculate_goal(made.id)
    before = len(sandbox.arrivals)
    sandbox.fault(None, fault, route="platform")
    with pytest.raises((InternalServerError, ConnectionFailed)):
        await account.campaigns.confirm(made.id)
    assert len(sandbox.arrivals) == before + 1
    assert sandbox.platform.campaigns.confirmed == ([] if fault is Fault.ERROR_BEFORE else [made.id])
    told = (await account.campaigns.get(made.id)).status
    assert told == (CampaignStatus.READY if fault is Fault.ERROR_BEFORE else CampaignStatus.COMPLETED)


async def test_a_change_is_repeated_and_a_creation_and_a_calculation_are_not(
    qlara: QlaraClient, gateway: WireGateway
) -> None:
    gateway.script = [answer(500), answer(200, b""), drop, answer(500)]
    assert (await qlara.campaigns.update(7, name="x")).raw == {}
    with pytest.raises(ConnectionFailed):
        await qlara.campaigns.create("x")
    with pytest.raises(InternalServerError):
        await qlara.campaigns.calculate_goal(7, more={"goalContactCount": 5})
    assert [seen.method for seen in gateway.seen] == ["PUT", "PUT", "POST", "POST"]
    assert json.loads(gateway.seen[3].body) == {"goalContactCount": 5}


@pytest.mark.parametrize("options", [{"simulation": True}, {"only_destinations": NUMBERS}])
async def test_no_campaign_leaves_a_client_in_test_mode(sandbox: Sandbox, options: dict[str, Any]) -> None:
    async with QlaraClient(sandbox.api_key, base_url=sandbox.url, **options) as qlara:
        made = await qlara.campaigns.create("Saldi", **READY)
        await qlara.campaigns.calculate_goal(made.id)
        with pytest.raises(NotSentError) as caught:
            await qlara.campaigns.confirm(made.id)
    assert caught.value.reason == "test_mode"
    assert sandbox.platform.campaigns.confirmed == []


# --- what is sent


async def test_fields_are_sent_by_the_names_of_the_page(qlara: QlaraClient, gateway: WireGateway) -> None:
    gateway.default = answer(201, b"7")
    made = await qlara.campaigns.create(
        "Saldi",
        sending_mode=SendingMode.WHATSAPP_RCS_SMS,
        sms_sender="ACME",
        sms_body="Ciao",
        rcs_agent_id=1,
        rcs_template_id=2,
        whatsapp_phone_number_id=3,
        whatsapp_template_id=4,
        contact_list_ids=[5, "lst_6"],
        ready_to_send=True,
        more={"name": "loses", "colour": "red"},
    )
    assert made.id == 7
    assert json.loads(gateway.seen[0].body) == {
        "name": "Saldi",
        "sendingMode": "WHATSAPP_RCS_SMS",
        "smsSender": "ACME",
        "smsBody": "Ciao",
        "rcsAgentId": 1,
        "rcsTemplateId": 2,
        "whatsappPhoneNumberId": 3,
        "whatsappTemplateId": 4,
        "destinationType": 1,
        "contactListIds": [5, "lst_6"],
        "readyToSend": True,
        "colour": "red",
    }
    await qlara.campaigns.update("a/b", scheduled_date=None, destinations=NUMBERS)
    assert (gateway.seen[1].method, gateway.seen[1].target) == ("PUT", f"{CAMPAIGNS}/a%2Fb")
    changes = {"scheduledDate": None, "destinationType": 2, "destinations": NUMBERS}
    assert json.loads(gateway.seen[1].body) == changes


async def test_words_of_a_use_case_are_taken_as_they_come(qlara: QlaraClient, gateway: WireGateway) -> None:
    gateway.default = answer(200, b'{"id": "cmp_1", "status": "DRAFT", "sendingMode": "PIGEON"}')
    found = await qlara.campaigns.get("cmp_1")
    assert (found.status, found.sending_mode) == ("DRAFT", "PIGEON")


async def test_what_cannot_be_costs_no_request(account: QlaraClient, sandbox: Sandbox) -> None:
    campaigns = account.campaigns
    for bad in (
        campaigns.create(""),
        campaigns.create("x", sending_mode="PIGEON"),
        campaigns.create("x", destinations=NUMBERS[0]),
        campaigns.create("x", destinations=["340"]),
        campaigns.create("x", destinations=[]),
        campaigns.create("x", contact_list_ids=[]),
        campaigns.create("x", contact_list_ids=[1], destinations=NUMBERS),
        campaigns.create("x", scheduled_date=datetime(2026, 4, 9)),
        campaigns.create("x", ready_to_send=True),
        campaigns.create("x", **{**READY, "destinations": None}),
        campaigns.create("x", **{**READY, "sms_body": None}),
        campaigns.create("x", **{**READY, "sending_mode": "WHATSAPP_SMS"}),
        campaigns.update(1, sending_mode="PIGEON"),
        campaigns.update(1, scheduled_date=datetime(2026, 4, 9)),
        campaigns.confirm(""),
    ):
        with pytest.raises(ConfigurationError) as caught:
            await bad
        assert NUMBERS[0] not in str(caught.value)
    for listing in (
        lambda: campaigns.list(sending_modes="SMS"),
        lambda: campaigns.list(sending_modes=[]),
        lambda: campaigns.list(direction="asc"),  # type: ignore[arg-type]
        lambda: campaigns.stats(date(2026, 1, 1), date(2026, 2, 1), aggregate_on="year"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ConfigurationError):
            listing()
    assert list(sandbox.arrivals) == []


async def test_g11_nothing_private_is_shown(account: QlaraClient) -> None:
    made = await account.campaigns.create("Segreto", **READY)
    assert not [private for private in (*NUMBERS, "Segreto", "Ciao") if private in repr(made)]
