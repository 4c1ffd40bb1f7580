"""API keys, client and sandbox together over real HTTP; and that none of it shows a key."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator

import pytest

from qlara_async import ApiKey, ClientEvent, QlaraClient, RetryPolicy
from qlara_async.errors import (
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
)
from qlara_async.protocol.operations.api_keys import FIND_API_KEY
from qlara_async.protocol.responses import Response
from qlara_async.sandbox import Fault, Sandbox

from .wire import WireGateway, answer

pytestmark = pytest.mark.anyio

KEYS = "/api/partner-gateway/v1/authentication"
# Nothing a pattern could know a key by: it must be hidden for where it stands.
CANARY = "kanarienvogel"


@pytest.fixture
async def sandbox(anyio_backend: str) -> AsyncIterator[Sandbox]:
    async with Sandbox(rate_limit=None) as sandbox:
        yield sandbox


@pytest.fixture
async def account(sandbox: Sandbox) -> AsyncIterator[QlaraClient]:
    async with QlaraClient(sandbox.api_key, base_url=sandbox.url, rate_limit=None) as qlara:
        yield qlara


async def test_a_key_is_made_used_found_and_revoked(account: QlaraClient, sandbox: Sandbox) -> None:
    made = await account.api_keys.create(["SMS"], name="shop")
    assert made.value in sandbox.api_keys
    assert (made.operations, made.name, made.username) == (("SMS",), "shop", "sandbox")
    listed = [key async for key in account.api_keys.list()]
    assert [key.id for key in listed][1:] == [made.id]
    assert [key.value for key in listed] == [None, None]
    found = await account.api_keys.find(made.value or "")
    assert (found.id, found.company, found.value) == (made.id, "Sandbox", None)
    async with QlaraClient(made.value, base_url=sandbox.url, rate_limit=None) as shop:
        await shop.sms.send(destination="+390000000001", sender="ACME", body="Ciao")
        with pytest.raises(PermissionDeniedError):
            await shop.rcs.send(destination="+390000000001", agent_id=1, body="Ciao")
        await account.api_keys.delete(made.id)
        with pytest.raises(AuthenticationError):
            await shop.sms.send(destination="+390000000001", sender="ACME", body="Ciao")
    for gone in (account.api_keys.delete(made.id), account.api_keys.find(made.value or "")):
        with pytest.raises(NotFoundError):
            await gone


async def test_a_client_moves_to_a_new_key_and_revokes_the_one_it_had(account: QlaraClient, sandbox: Sandbox) -> None:
    (old,) = [key async for key in account.api_keys.list()]
    new = await account.api_keys.create(["SMS", "RCS", "WHATSAPP"])
    account.rotate_key(new.value or "")
    await account.api_keys.delete(old.id)
    assert sandbox.api_keys == (new.value,)
    await account.sms.send(destination="+390000000001", sender="ACME", body="Ciao")


async def test_the_last_key_can_be_revoked_too(account: QlaraClient, sandbox: Sandbox) -> None:
    (own,) = [key async for key in account.api_keys.list()]
    await account.api_keys.delete(own.id)
    assert sandbox.api_keys == ()
    with pytest.raises(AuthenticationError):
        await account.subscription.get()


async def test_a_key_as_the_use_case_shows_it(qlara: QlaraClient, gateway: WireGateway) -> None:
    gateway.default = answer(
        200, b'{"id": "key_1", "name": "n", "apiKey": "pg_live_x", "createdAt": "2026-04-09", "status": "ACTIVE"}'
    )
    made = await qlara.api_keys.create(["SMS"], more={"userId": 7621})
    assert (made.id, made.value, made.status, made.created_at) == ("key_1", "pg_live_x", "ACTIVE", "2026-04-09")
    assert json.loads(gateway.seen[0].body) == {"operations": ["SMS"], "userId": 7621}
    gateway.default = answer(200, b"[]")
    assert [key async for key in qlara.api_keys.list(user_id=7621)] == []
    assert gateway.seen[1].target == f"{KEYS}?userId=7621"


async def test_a_key_never_changes_the_path(qlara: QlaraClient, gateway: WireGateway) -> None:
    await qlara.api_keys.find("a/../b?c#d")
    assert gateway.seen[0].target == f"{KEYS}/a%2F..%2Fb%3Fc%23d"


async def test_bad_input_costs_no_request(account: QlaraClient, sandbox: Sandbox) -> None:
    for bad in (
        account.api_keys.create([]),
        account.api_keys.create("SMS"),
        account.api_keys.create([""]),
        account.api_keys.create([5]),  # type: ignore[list-item]
        account.api_keys.find(""),
        account.api_keys.delete(".."),
    ):
        with pytest.raises(ConfigurationError):
            await bad
    assert list(sandbox.arrivals) == []


async def test_a_creation_is_not_repeated_in_doubt(account: QlaraClient, sandbox: Sandbox) -> None:
    sandbox.fault(None, Fault.ERROR_AFTER, route="platform")
    with pytest.raises(InternalServerError):
        await account.api_keys.create(["SMS"])
    assert len(sandbox.api_keys) == 2


async def test_the_sandbox_wants_operations(account: QlaraClient) -> None:
    with pytest.raises(BadRequestError, match="operations"):
        await account.request("POST", "/partner-gateway/v1/authentication", json={"name": "x"})


async def test_g11_a_key_looked_up_is_in_no_log_event_repr_or_error(
    gateway: WireGateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    told: list[ClientEvent] = []
    quoted = b'{"message": "no such key: %s"}' % CANARY.encode()
    gateway.script = [answer(500, quoted), answer(404, quoted), answer(404, quoted), answer(404)]
    retry = RetryPolicy(max_attempts=2, max_wait=0.01)
    async with QlaraClient("key", base_url=gateway.url, retry=retry, on_event=told.append) as qlara:
        for call in (qlara.api_keys.find(CANARY), qlara.api_keys.find(CANARY), qlara.api_keys.delete(CANARY)):
            with pytest.raises(NotFoundError) as caught:
                await call
            assert CANARY not in repr(caught.value) + str(caught.value)
    assert len(caplog.records) >= 1
    assert CANARY not in caplog.text + repr([record.__dict__ for record in caplog.records])
    assert len(told) >= 4
    assert CANARY not in repr(told)
    assert CANARY not in repr(FIND_API_KEY.request(path={"value": CANARY}))


def test_g11_a_repr_shows_no_key() -> None:
    key = ApiKey(id=5, value=CANARY, operations=("SMS",), raw={"value": CANARY})
    assert f"{key} {[key]!r}" == f"{key!r} {[key]!r}"
    assert CANARY not in repr(key)
    assert CANARY not in repr(Response(201, {}, CANARY.encode()))


async def test_g11_the_sandbox_logs_no_key(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with QlaraClient(sandbox.api_key, base_url=sandbox.url) as qlara:
        made = await qlara.api_keys.create(["SMS"])
        await qlara.api_keys.find(made.value or "")
    assert made.value
    assert made.value not in caplog.text + repr([record.__dict__ for record in caplog.records])
    assert made.value not in repr(sandbox.platform) + repr(sandbox)
