"""Which SMS share a request, what it looks like, and what an answer to it says of each."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlara_async import Rcs, Sms
from qlara_async.errors import InvalidMessageError, UndecodableAnswerError
from qlara_async.protocol.batch_answers import Judgement, verdicts_of
from qlara_async.protocol.batches import Gathering, batch_request, check_batchable, terms_of
from qlara_async.protocol.responses import Response

DATES = [None, datetime(2026, 4, 10, 8, tzinfo=timezone(timedelta(hours=2))), datetime(2026, 4, 11, tzinfo=UTC)]


def fields(body: str) -> dict[str, Any]:
    return {"body": body, "placeholders": {"nome": "Anna"} if "{nome}" in body else None}


MESSAGES = st.lists(
    st.builds(
        lambda number, sender, text, udh, date, simulation, notify, skip: Sms(
            destination=f"+39000{number:07}",
            sender=sender,
            udh_data=udh,
            scheduled_date=date,
            simulation=simulation,
            enable_notification=notify,
            skip_rcs_override=skip,
            **fields(text),
        ),
        st.integers(0, 20),
        st.sampled_from(["ACME", "Altro"]),
        st.sampled_from(["Ciao", "Ciao {nome}", "Ciao Anna"]),
        st.sampled_from([None, "0500"]),
        st.sampled_from(DATES),
        st.booleans(),
        st.booleans(),
        st.booleans(),
    ),
    max_size=40,
)


@given(MESSAGES, st.integers(1, 9))
def test_every_message_is_in_exactly_one_request_in_its_order_and_as_it_is(messages: list[Sms], size: int) -> None:
    numbered = [msgspec.structs.replace(message, message_id=f"m-{place}") for place, message in enumerate(messages)]
    gathering: Gathering[Sms] = Gathering(size)
    kinds = {terms_of(message) for message in numbered}
    full = [batch for message in numbered if (batch := gathering.add(terms_of(message), message)) is not None]
    assert all(len(batch) == size for batch in full)
    rest = [batch for kind in kinds if (batch := gathering.take(kind))]
    assert all(len(batch) < size for batch in rest)
    sent: dict[str, Any] = {}
    for batch in full + rest:
        places = [int(str(message.message_id)[2:]) for message in batch]
        assert places == sorted(places)
        body = json.loads(batch_request(batch, terms_of(batch[0])).body or b"")
        keys = set()
        for entry in body["messages"]:
            key = (entry["sender"], entry["body"], entry.get("udhData"), entry.get("scheduling"))
            assert key not in keys
            keys.add(key)
            assert len(entry["destinations"]) == len(entry["ids"])
            inner = [int(item[2:]) for item in entry["ids"]]
            assert inner == sorted(inner)
            for destination, item in zip(entry["destinations"], entry["ids"], strict=True):
                assert item not in sent
                sent[item] = (destination, *key[:3], body.get("simulation", False), body.get("enableDelivery", True))
                sent[item] += (body.get("skipRcsOverride", False),)
    assert sent == {
        message.message_id: (
            message.destination,
            message.sender,
            message.body.replace("{nome}", "Anna"),
            message.udh_data,
            message.simulation,
            message.enable_notification,
            message.skip_rcs_override,
        )
        for message in numbered
    }


def sms(**given: Any) -> Sms:
    return Sms(**{"destination": "+393401234567", "sender": "ACME", "body": "Ciao", "message_id": "m-1"} | given)


def test_the_schedule_is_written_by_the_documented_pattern() -> None:
    request = batch_request([sms(scheduled_date=DATES[1])], terms_of(sms()))
    assert json.loads(request.body or b"")["messages"][0]["scheduling"] == "2026-04-10 08:00:00.000+0200"
    assert request.path == "/services/sms/send"
    assert not request.repeatable


def test_a_request_says_only_what_differs_from_the_defaults() -> None:
    body = json.loads(batch_request([sms()], terms_of(sms())).body or b"")
    assert body == {"messages": [{"destinations": ["+393401234567"], "ids": ["m-1"], "sender": "ACME", "body": "Ciao"}]}


@pytest.mark.parametrize(
    ("field", "value"), [("campaign_id", "spring"), ("message_id", "x" * 65)], ids=["campaign", "id"]
)
def test_what_legacy_cannot_carry_is_invalid(field: str, value: str) -> None:
    with pytest.raises(InvalidMessageError) as caught:
        check_batchable(sms(**{field: value}))
    assert caught.value.field == field
    assert value not in str(caught.value)
    check_batchable(sms(message_id="x" * 64))
    check_batchable(Rcs(destination="+393401234567", agent_id=1, body="Ciao", campaign_id="spring"))


RECIPIENTS = {"a": "+390000000001", "b": "+390000000002", "c": "+390000000003"}
A, R, Q = Judgement.ACCEPTED, Judgement.REFUSED, Judgement.OPEN
ANSWERS: list[tuple[Any, list[Judgement]]] = [
    ({}, [A, A, A]),
    ([], [A, A, A]),
    ("ok", [A, A, A]),
    ({"globalId": "g", "accepted": 3, "rejected": 0}, [A, A, A]),
    ({"status": "success", "data": {"count": 3}}, [A, A, A]),
    ({"results": {"sms": {"accepted": True}}}, [A, A, A]),
    ({"messages": [{"id": i, "accepted": i != "b"} for i in "abc"]}, [A, R, A]),
    ({"data": {"messages": [{"messageId": "b", "status": "ERROR", "code": 4}]}}, [A, R, A]),
    ([{"destination": "390000000002", "success": False}], [A, R, A]),
    ({"results": {"a": "ok", "b": {"accepted": False, "reasons": ["no"]}, "c": True}}, [A, R, A]),
    ({"rejected": ["b"], "count": 2}, [A, R, A]),
    ({"rejected": [{"destination": "+390000000002", "reason": "no"}]}, [A, R, A]),
    ({"errors": ["+390000000002", ["odd"], None]}, [A, R, A]),
    ({"messages": [{"id": "a", "accepted": True}]}, [A, Q, Q]),
    ({"messages": [{"id": "a", "status": "weird"}, {"id": "b", "code": 9}, {"id": "c"}]}, [Q, Q, A]),
    ({"accepted": 2, "rejected": 1}, [Q, Q, Q]),
    ({"status": "success", "data": {"accepted": 2, "failed": 1}}, [Q, Q, Q]),
    ({"rejected": 1, "errors": [{"id": "b"}]}, [A, R, A]),
    ({"rejected": 2, "errors": [{"id": "b"}]}, [Q, R, Q]),
    ({"accepted": ["a"], "errors": [{"message": "one is not right"}]}, [Q, Q, Q]),
    ({"rejected": ["+399999999999"]}, [Q, Q, Q]),
    ({"rejected": ["b", "unknown"]}, [Q, R, Q]),
    ({"status": "error", "errors": [{"id": "b", "code": 4}]}, [Q, R, Q]),
    ({"status": "error", "errors": ["no credit"]}, [R, R, R]),
    ({"results": {"sms": {"accepted": False, "reasons": ["no credit"]}}}, [R, R, R]),
    ({"results": {"sms": {"accepted": False}, "rcs": {"accepted": True}}}, [A, A, A]),
    ({"code": 2, "message": "no credit"}, [R, R, R]),
    ({"code": 200, "message": "ok"}, [A, A, A]),
    ({"success": False, "message": "no"}, [R, R, R]),
    ({"success": True, "error": None, "errors": []}, [A, A, A]),
    ({"status": "error", "message": "no", "code": 2}, [R, R, R]),
    ({"status": "FAIL"}, [R, R, R]),
    ({"accepted": False}, [R, R, R]),
]


def response(body: bytes) -> Response:
    return Response(200, {}, body)


@pytest.mark.parametrize(("answer", "expected"), ANSWERS)
def test_partial_refusals_map_to_their_messages(answer: Any, expected: list[Judgement]) -> None:
    verdicts = verdicts_of(response(msgspec.json.encode(answer)), RECIPIENTS)
    assert [verdicts[item].judgement for item in RECIPIENTS] == expected


def test_an_empty_2xx_is_acceptance_of_all() -> None:
    assert {item.judgement for item in verdicts_of(response(b""), RECIPIENTS).values()} == {A}


@pytest.mark.parametrize(
    "body",
    [b"<html>", b'{"messages":[', b'{"status":"error","code":8}', b'{"code":9}', b'{"error":"Internal"}'],
)
def test_what_proves_nothing_is_undecodable(body: bytes) -> None:
    with pytest.raises(UndecodableAnswerError):
        verdicts_of(response(body), RECIPIENTS)


def test_a_recipient_of_two_messages_names_neither() -> None:
    twice = {"a": "+390000000001", "b": "+390000000001"}
    answer = msgspec.json.encode({"rejected": ["+390000000001"], "x": [{"destination": "+390000000001"}]})
    assert {item.judgement for item in verdicts_of(response(answer), twice).values()} == {Q}


def test_reasons_carry_the_meaning_of_a_code() -> None:
    answer = msgspec.json.encode({"messages": [{"id": "a", "accepted": False, "code": 18, "message": "sorry"}]})
    result = verdicts_of(response(answer), RECIPIENTS)["a"].result
    assert result is not None
    assert result.reasons == ("code 18: wrong or not allowed sender", "sorry")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["a", "b", "+390000000001", "error", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "a", "b", "rejected", "status", "code", "messages", "to"]), inner)
    ),
    max_leaves=15,
)


@given(JSON)
def test_any_json_judges_every_message_or_is_undecodable(answer: Any) -> None:
    try:
        verdicts = verdicts_of(response(msgspec.json.encode(answer)), RECIPIENTS)
    except UndecodableAnswerError:
        return
    assert verdicts.keys() == RECIPIENTS.keys()
