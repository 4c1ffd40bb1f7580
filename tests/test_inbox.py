"""Conversations of the inbox, client and sandbox together over real HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import pytest

from qlara_async import Conversation, QlaraClient
from qlara_async.errors import (
    BadRequestError,
    ConfigurationError,
    InternalServerError,
    NotFoundError,
    NotSentError,
    UndecodableAnswerError,
)
from qlara_async.sandbox import Sandbox
from qlara_async.testing.clock import VirtualClock

from .wire import WireGateway, answer

pytestmark = pytest.mark.anyio

INBOX = "/api/partner-gateway/v1/inbox/conversations"
ANNA, BRUNO, OURS = "+393401234567", "+393401234568", "+390212345678"
DAY = 86_400.0


@pytest.fixture
async def sandbox(clock: VirtualClock) -> AsyncIterator[Sandbox]:
    async with Sandbox(rate_limit=None, clock=clock) as sandbox:
        yield sandbox


@pytest.fixture
async def account(sandbox: Sandbox) -> AsyncIterator[QlaraClient]:
    async with QlaraClient(sandbox.api_key, base_url=sandbox.url, rate_limit=None) as qlara:
        yield qlara


async def write(sandbox: Sandbox, source: str, text: str, **more: Any) -> None:
    await sandbox.inbound(source=source, destination=OURS, text=text, lost=True, **more)


async def only(account: QlaraClient) -> Conversation:
    (found,) = [one async for one in account.inbox.conversations()]
    return found


async def texts(account: QlaraClient, chat_id: int | str, **bounds: Any) -> list[str]:
    return [message.text async for message in account.inbox.messages(chat_id, **bounds)]


async def test_what_customers_write_is_in_conversations_latest_first(
    account: QlaraClient, sandbox: Sandbox, clock: VirtualClock
) -> None:
    await write(sandbox, ANNA, "uno")
    await clock.advance(60)
    await write(sandbox, BRUNO, "due", channel="WHATSAPP")
    await clock.advance(60)
    await write(sandbox, ANNA, "tre")
    found = [one async for one in account.inbox.conversations(order_by="-lastMessageDate")]
    assert [(one.customer, one.channel, one.unread_count, one.last_message) for one in found] == [
        (ANNA, "SMS", 2, "tre"),
        (BRUNO, "WHATSAPP", 1, "due"),
    ]
    assert [one.customer async for one in account.inbox.conversations(order_by="+lastMessageDate")] == [BRUNO, ANNA]
    assert (await account.inbox.get(found[0].id)).raw == found[0].raw
    assert await texts(account, found[0].id) == ["uno", "tre"]


async def test_conversations_can_be_filtered(account: QlaraClient, sandbox: Sandbox, clock: VirtualClock) -> None:
    await write(sandbox, ANNA, "uno")
    await clock.advance(2 * DAY)
    await write(sandbox, BRUNO, "due", channel="RCS")
    later = date.fromtimestamp(clock.time() - DAY)
    (bruno,) = [one async for one in account.inbox.conversations(date_from=later)]
    assert bruno.customer == BRUNO
    assert [one.id async for one in account.inbox.conversations(channel_ids=[bruno.channel_id])] == [bruno.id]
    await account.inbox.mark_read(bruno.id)
    assert [one.customer async for one in account.inbox.conversations(unread_only=True)] == [ANNA]
    assert len([one async for one in account.inbox.conversations(limit=1)]) == 1


async def test_messages_are_chosen_by_their_ids_both_included(account: QlaraClient, sandbox: Sandbox) -> None:
    for text in ("uno", "due", "tre", "quattro"):
        await write(sandbox, ANNA, text)
    chat = await only(account)
    ids = [int(message.id) async for message in account.inbox.messages(chat.id)]
    assert await texts(account, chat.id, id_from=ids[1], id_to=ids[2]) == ["due", "tre"]
    assert await texts(account, chat.id, id_from=ids[3] + 1) == []
    assert await texts(account, chat.id, limit=2) == ["uno", "due"]


async def test_messages_are_asked_for_until_no_higher_id_comes(qlara: QlaraClient, gateway: WireGateway) -> None:
    gateway.script = [
        answer(200, b'[{"id": 3}, {"id": 5}]'),
        answer(200, b'{"messages": [{"id": 6}]}'),
        answer(200, b"[]"),
    ]
    assert [message.id async for message in qlara.inbox.messages("a/b")] == [3, 5, 6]
    asked = [seen.target.partition("?") for seen in gateway.seen]
    assert {path for path, _, _ in asked} == {f"{INBOX}/a%2Fb/messages"}
    assert [query for _, _, query in asked] == ["", "idFrom=6", "idFrom=7"]


async def test_a_message_tells_who_wrote_it_and_what(account: QlaraClient, sandbox: Sandbox) -> None:
    await write(sandbox, ANNA, "la foto", media_key="mk_1", message_id="m-1")
    chat = await only(account)
    said = await account.inbox.reply(chat.id, "Grazie")
    photo, thanks = [message async for message in account.inbox.messages(chat.id)]
    assert (photo.is_inbound, photo.message_id, photo.text) == (True, "m-1", "la foto")
    assert photo.content["mediaKey"] == "mk_1"
    assert (thanks.is_inbound, thanks.text, thanks.delivery_status, thanks.id) == (False, "Grazie", "SENT", said.id)


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"content": "Ciao"}, "Ciao"),
        ({"text": "Ciao"}, "Ciao"),
        ({"content": {"type": "IMAGE", "text": 5}}, ""),
        ({}, ""),
    ],
)
async def test_content_is_read_however_it_is_laid_out(
    said: dict[str, Any], text: str, qlara: QlaraClient, gateway: WireGateway
) -> None:
    gateway.default = answer(200, json.dumps([{"direction": "in", **said}]).encode())
    (message,) = [message async for message in qlara.inbox.messages(1)]
    assert (message.text, message.is_inbound) == (text, True)


async def test_a_reply_is_sent_once_and_taken_whatever_the_answer(qlara: QlaraClient, gateway: WireGateway) -> None:
    gateway.script = [answer(202, b""), answer(202, b"accepted"), answer(500)]
    for _ in range(2):
        assert (await qlara.inbox.reply(7, "Ciao", more={"type": "TEXT"})).raw == {}
    assert json.loads(gateway.seen[0].body) == {"chatId": 7, "content": "Ciao", "type": "TEXT"}
    with pytest.raises(InternalServerError):
        await qlara.inbox.reply(7, "Ciao")
    assert len(gateway.seen) == 3


async def test_a_conversation_is_read_archived_and_assigned(account: QlaraClient, sandbox: Sandbox) -> None:
    await write(sandbox, ANNA, "uno")
    chat_id = (await only(account)).id
    (user,) = [user async for user in account.inbox.assignable_users()]
    assert (user.id, user.display_name, user.avatar_url) == (1, "Sandbox", None)
    for _ in range(2):
        await account.inbox.mark_read(chat_id)
        await account.inbox.archive(chat_id)
        await account.inbox.assign(chat_id, user.id)
    chat = await account.inbox.get(chat_id)
    assert (chat.unread_count, chat.archived, chat.assignee) == (0, True, user)
    for _ in range(2):
        await account.inbox.unarchive(chat_id)
        await account.inbox.unassign(chat_id)
    chat = await account.inbox.get(chat_id)
    assert (chat.archived, chat.assignee) == (False, None)


async def test_what_is_not_there_is_told(account: QlaraClient, sandbox: Sandbox) -> None:
    await write(sandbox, ANNA, "uno")
    chat_id = (await only(account)).id
    with pytest.raises(BadRequestError, match="userId"):
        await account.inbox.assign(chat_id, 99)
    for missing in (
        account.inbox.get(99),
        account.inbox.reply(99, "Ciao"),
        account.inbox.mark_read(99),
        account.inbox.archive(99),
        account.inbox.unarchive(99),
        account.inbox.assign(99, 1),
        account.inbox.unassign(99),
        texts(account, 99),
    ):
        with pytest.raises(NotFoundError):
            await missing


async def test_what_cannot_be_costs_no_request(account: QlaraClient, sandbox: Sandbox) -> None:
    for bad in (account.inbox.reply(1, ""), account.inbox.get(""), account.inbox.mark_read("..")):
        with pytest.raises(ConfigurationError):
            await bad
    with pytest.raises(ConfigurationError):
        account.inbox.conversations(channel_ids=[])
    with pytest.raises(ConfigurationError):
        account.inbox.messages(1, id_from="x")  # type: ignore[arg-type]
    assert list(sandbox.arrivals) == []


@pytest.mark.parametrize("options", [{"simulation": True}, {"only_destinations": [ANNA]}])
async def test_no_reply_leaves_a_client_in_test_mode(sandbox: Sandbox, options: dict[str, Any]) -> None:
    async with QlaraClient(sandbox.api_key, base_url=sandbox.url, **options) as qlara:
        with pytest.raises(NotSentError) as caught:
            await qlara.inbox.reply(1, "Ciao")
    assert caught.value.reason == "test_mode"
    assert list(sandbox.arrivals) == []


async def test_reading_and_assigning_are_repeated_and_archiving_is_not(
    qlara: QlaraClient, gateway: WireGateway
) -> None:
    gateway.script = [answer(500), answer(204, b""), answer(500), answer(204, b""), answer(500)]
    await qlara.inbox.mark_read(1)
    await qlara.inbox.assign(1, "u-1")
    with pytest.raises(InternalServerError):
        await qlara.inbox.archive(1)
    assert [seen.method for seen in gateway.seen] == ["PATCH", "PATCH", "POST", "POST", "PATCH"]
    assert json.loads(gateway.seen[2].body) == {"userId": "u-1"}


async def test_an_answer_that_is_no_conversation_is_told(qlara: QlaraClient, gateway: WireGateway) -> None:
    gateway.default = answer(200, b"[]")
    with pytest.raises(UndecodableAnswerError):
        await qlara.inbox.get(1)


async def test_g11_nothing_private_is_shown(account: QlaraClient, sandbox: Sandbox) -> None:
    await write(sandbox, ANNA, "segreto")
    chat = await only(account)
    messages = [message async for message in account.inbox.messages(chat.id)]
    users = [user async for user in account.inbox.assignable_users()]
    shown = repr([chat, messages, users])
    assert not [private for private in (ANNA, "segreto", OURS, "Sandbox") if private in shown]
