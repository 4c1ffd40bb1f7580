"""``client.sms_legacy``: many texts to many recipients in one call, and the credit."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from qlara_async import LegacySms, QlaraClient, RetryPolicy
from qlara_async.errors import (
    BadRequestError,
    BatchUnknownError,
    InvalidMessageError,
    MessageRejectedError,
    UndecodableAnswerError,
)
from qlara_async.sandbox import Fault, Sandbox

from .wire import WireGateway, answer

pytestmark = pytest.mark.anyio

ONE, TWO, THREE = (f"+39000000000{index}" for index in (1, 2, 3))


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[QlaraClient]:
    async with QlaraClient(sandbox.api_key, base_url=sandbox.url, retry=RetryPolicy(settle=0.3)) as client:
        yield client


def text(*destinations: str, **given: Any) -> LegacySms:
    return LegacySms(**{"destinations": destinations, "sender": "ACME", "body": "Ciao"} | given)


async def test_texts_go_to_all_their_recipients_in_one_request(client: QlaraClient, sandbox: Sandbox) -> None:
    sandbox.refuse(TWO, "BLACKLISTED")
    receipt = await client.sms_legacy.send([text(ONE, TWO), text(THREE, body="Addio {x}", ids=["mine"])])
    assert sandbox.requests["send", 200] == 1
    assert [message.destination for message in sandbox.messages] == [ONE, THREE]
    assert dict(sandbox.accepted) == dict.fromkeys(receipt.accepted, 1)
    assert "mine" in receipt.accepted
    (refusal,) = receipt.refused.values()
    assert isinstance(refusal, MessageRejectedError)
    body = json.loads(sandbox.messages[0].raw)
    assert [entry["body"] for entry in body["messages"]] == ["Ciao", "Addio {x}"]
    statuses = await client.messages.statuses(receipt.accepted, channel="SMS")
    assert None not in statuses.values()


async def test_the_options_of_the_text_are_said(client: QlaraClient, sandbox: Sandbox) -> None:
    long = text(ONE, body="€ŝ" * 100)
    await client.sms_legacy.send([long], enable_unicode=False, enable_concatenated=False, enable_notification=False)
    (message,) = sandbox.messages
    said = json.loads(message.raw)
    assert (said["enableUnicode"], said["enableConcatenated"], said["enableDelivery"]) == (False, False, False)
    assert message.parts == 1
    receipt = await client.sms_legacy.send([long], simulation=True)
    assert [item.simulation for item in receipt.accepted.values()] == [True]
    assert len(sandbox.messages) == 1


async def test_g1_an_ambiguous_end_names_the_ids(client: QlaraClient, sandbox: Sandbox) -> None:
    sandbox.fault(None, Fault.DROP_BEFORE)
    with pytest.raises(BatchUnknownError) as caught:
        await client.sms_legacy.send([text(ONE, TWO, ids=["a", "b"])])
    assert caught.value.message_ids == ("a", "b")
    assert "a, b" in str(caught.value)
    sandbox.fault(None, Fault.DROP_AFTER)
    receipt = await client.sms_legacy.send([text(ONE, ids=["c"])])
    assert receipt.accepted["c"].looked_up
    assert dict(sandbox.accepted) == {"c": 1}


async def test_a_jsend_error_is_that_of_the_request(qlara: QlaraClient, gateway: WireGateway) -> None:
    gateway.default = answer(400, b'{"status":"fail","message":"no","code":2}')
    with pytest.raises(BadRequestError) as caught:
        await qlara.sms_legacy.send([text(ONE, TWO)])
    assert caught.value.meaning == "insufficient credit"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"destinations": []}, "destinations"),
        ({"destinations": ONE}, "destinations"),
        ({"destinations": ["340"]}, "destination"),
        ({"ids": ["a", "b"]}, "ids"),
        ({"ids": ["x" * 65]}, "message_id"),
        ({"body": ""}, "body"),
        ({"body": None}, "body"),
        ({"sender": "A" * 12}, "sender"),
    ],
)
async def test_bad_input_costs_no_request(
    given: dict[str, Any], field: str, qlara: QlaraClient, gateway: WireGateway
) -> None:
    with pytest.raises(InvalidMessageError) as caught:
        await qlara.sms_legacy.send([text(ONE, **given)])
    assert caught.value.field == field
    with pytest.raises(InvalidMessageError):
        await qlara.sms_legacy.send([])
    with pytest.raises(InvalidMessageError, match="LegacySms"):
        await qlara.sms_legacy.send([given])  # type: ignore[list-item]
    assert gateway.seen == []


async def test_the_credit(client: QlaraClient, sandbox: Sandbox) -> None:
    assert await client.sms_legacy.credit() == 10.324
    sandbox.credit = 3
    assert await client.sms_legacy.credit() == 3.0


async def test_an_answer_without_credit_is_undecodable(qlara: QlaraClient, gateway: WireGateway) -> None:
    gateway.default = answer(200, b'{"balance": 3}')
    with pytest.raises(UndecodableAnswerError):
        await qlara.sms_legacy.credit()


FAULTY: list[tuple[dict[str, Any], int]] = [
    ({"messages": []}, 14),
    ({"messages": [{"destinations": [], "sender": "A", "body": "x"}]}, 13),
    ({"messages": [{"destinations": ["340"], "sender": "A", "body": "x"}]}, 4),
    ({"messages": [{"destinations": [ONE], "ids": ["a", "b"], "sender": "A", "body": "x"}]}, 15),
    ({"messages": [{"destinations": [ONE], "ids": ["a" * 65], "sender": "A", "body": "x"}]}, 21),
    ({"messages": [{"destinations": [ONE], "body": "x"}]}, 10),
    ({"messages": [{"destinations": [ONE], "sender": "A" * 12, "body": "x"}]}, 18),
    ({"messages": [{"destinations": [ONE], "sender": "A", "body": ""}]}, 6),
    ({"messages": [{"destinations": [ONE], "sender": "A", "body": "x", "udhData": "zz"}]}, 22),
    ({"messages": [{"destinations": [ONE], "sender": "A", "body": "x", "scheduling": "tomorrow"}]}, 23),
    ({"messages": [{"destinations": [ONE], "sender": "A", "body": "zz", "hexBody": True}]}, 24),
    ({"messages": [{"destinations": [ONE], "sender": "A", "body": "x" * 40_000}]}, 7),
    ({"messages": [{"destinations": [ONE], "sender": "A", "body": "x"}], "globalId": ""}, 20),
    ({"messages": [{"destinations": [ONE], "sender": "A", "body": "x"}], "maxIdLen": 0}, 21),
]


@pytest.mark.parametrize(("body", "code"), FAULTY)
async def test_the_sandbox_answers_with_the_documented_code(
    body: dict[str, Any], code: int, client: QlaraClient
) -> None:
    with pytest.raises(BadRequestError) as caught:
        await client.request("POST", "/services/sms/send", json=body)
    assert caught.value.code == code
    assert caught.value.meaning
