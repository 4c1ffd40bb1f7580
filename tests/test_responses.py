from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from qlara_async import errors
from qlara_async.errors import ApiError, MessageRejectedError, RateLimitError, UndecodableAnswerError
from qlara_async.models.channel import Channel, DeliveryStatus
from qlara_async.protocol.requests import Request
from qlara_async.protocol.responses import (
    Response,
    error_of,
    rate_limit_headers,
    receipt_of,
    registration_of,
    status_of,
    statuses_of,
)

NOW = 1_790_000_000.0
SEND = Request(
    method="POST",
    path="/message-server/sms/send",
    body=b'{"destination":"+393401234567","sender":"ACME","body":"Ciao Anna"}',
    message_id="m-1",
)


def response(body: object, status: int = 200, **headers: str) -> Response:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()}), raw)


def error(body: object, status: int, **headers: str) -> ApiError:
    return error_of(response(body, status, **headers), SEND, attempts=1, now=NOW)


def test_g11_an_error_keeps_the_gateways_words_and_masks_the_values_of_the_query() -> None:
    request = Request(method="GET", path="/partner-gateway/v1/messages/status", query="ids=anna&channel=SMS&bare")
    answer = response({"message": "anna, bare: no such message on this channel"}, 404)
    assert error_of(answer, request, attempts=1, now=NOW).detail == "…, …: no such message on this channel"


def test_a_receipt_from_the_documented_answer() -> None:
    entry = {"accepted": True, "unicode": False, "parts": 2, "reasons": []}
    answer = {"messageId": "m-1", "simulation": False, "results": {"sms": entry}, "new": [1]}
    receipt = receipt_of(response(answer), SEND, Channel.SMS, attempts=2)
    assert (receipt.message_id, receipt.channel, receipt.parts, receipt.attempts) == ("m-1", "SMS", 2, 2)
    assert json.loads(receipt.raw) == answer


def test_results_as_an_array_of_entries_with_a_channel() -> None:
    answer = {"results": [{"channel": "sms", "accepted": True}, {"channel": "rcs", "accepted": False}]}
    receipt = receipt_of(response(answer, 202), SEND, Channel.SMS, attempts=1)
    assert receipt.results["SMS"].accepted
    assert not receipt.results["RCS"].accepted


@pytest.mark.parametrize("accepted", [False, "false"])
@pytest.mark.parametrize("shape", ["object", "array"])
def test_a_refusal_inside_a_2xx_is_an_error(accepted: object, shape: str) -> None:
    entry = {"accepted": accepted, "channel": "SMS", "reasons": ["sender ACME not allowed for +393401234567", {"c": 1}]}
    results = {"sms": entry} if shape == "object" else [entry]
    with pytest.raises(MessageRejectedError) as caught:
        receipt_of(response({"results": results}), SEND, Channel.SMS, attempts=1)
    assert caught.value.reasons == ("sender … not allowed for …", '{"c":1}')
    assert "ACME" not in str(caught.value)


def test_a_fallback_channel_that_took_it_is_enough() -> None:
    answer = {"results": {"whatsapp": {"accepted": False}, "sms": {"accepted": True, "parts": 1}}}
    assert receipt_of(response(answer), SEND, Channel.WHATSAPP, attempts=1).parts == 1


def test_a_2xx_without_results_is_a_success() -> None:
    assert receipt_of(response({"messageId": "m-1"}, 202), SEND, Channel.SMS, attempts=1).results == {}
    assert receipt_of(response({}), SEND, Channel.SMS, attempts=1).message_id == "m-1"


def test_of_two_entries_for_a_channel_one_accepted_is_enough() -> None:
    for results in ([{"channel": "SMS", "accepted": one} for one in order] for order in ([True, False], [False, True])):
        receipt = receipt_of(response({"results": results}), SEND, Channel.SMS, attempts=1)
        assert receipt.results["SMS"].accepted


@pytest.mark.parametrize("results", [None, {}, []])
def test_a_refusal_beside_empty_results_is_one(results: object) -> None:
    with pytest.raises(MessageRejectedError):
        receipt_of(response({"results": results, "accepted": False}), SEND, Channel.SMS, attempts=1)


def test_a_refusal_outside_of_results_is_one() -> None:
    with pytest.raises(MessageRejectedError, match="blocked"):
        receipt_of(response({"accepted": False, "reasons": ["blocked"]}), SEND, Channel.SMS, attempts=1)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"\xff",
        b'{"a":',
        b'{"status":"error","message":"x"}',
        b'{"error":"x"}',
        b'{"success":false,"message":"no"}',
        b'{"results":{"sms":{}}}',
        b'{"results":{"sms":{"accepted":null}}}',
        b'{"results":{"sms":{"accepted":0}}}',
    ],
)
def test_a_2xx_that_says_nothing_is_no_receipt(body: bytes) -> None:
    with pytest.raises(UndecodableAnswerError):
        receipt_of(response(body), SEND, Channel.SMS, attempts=1)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_no_json_object_breaks_the_reading_of_an_answer(results: object) -> None:
    try:
        receipt_of(response({"results": results, "simulation": results}), SEND, Channel.SMS, attempts=1)
    except (MessageRejectedError, UndecodableAnswerError):
        return


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.BadRequestError),
        (401, errors.AuthenticationError),
        (403, errors.PermissionDeniedError),
        (404, errors.NotFoundError),
        (409, errors.ConflictError),
        (414, errors.UriTooLongError),
        (422, errors.UnprocessableError),
        (429, errors.RateLimitError),
        (500, errors.InternalServerError),
        (502, errors.BadGatewayError),
        (503, errors.ServerError),
        (302, errors.ApiError),
        (418, errors.ApiError),
    ],
)
def test_one_class_for_each_documented_status(status: int, kind: type[ApiError]) -> None:
    assert type(error({}, status)) is kind


@pytest.mark.parametrize(
    ("body", "code", "detail"),
    [
        ({"status": 400, "error": "Bad Request", "message": "sender is missing"}, None, "sender is missing"),
        (
            {"status": "error", "message": "Number check service unavailable", "code": 9},
            9,
            "Number check service unavailable",
        ),
        ({"title": "No", "code": "E1"}, "E1", "No"),
        ([1], None, ""),
        (b"<html>", None, ""),
        ({"message": "bad number +393401234567 for Anna"}, None, "bad number … for …"),
    ],
)
def test_every_kind_of_error_body_is_read(body: object, code: object, detail: str) -> None:
    read = error(body, 400)
    assert (read.code, read.detail) == (code, detail)


def test_a_plain_text_error_is_its_detail() -> None:
    assert error(b"go away", 403, Content_Type="text/plain; charset=utf-8").detail == "go away"


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ({"Retry_After": "7"}, {}, 7.0),
        ({}, {"retryAfter": 12}, 12.0),
        ({"Retry_After": "7"}, {"retryAfter": 12}, 12.0),
        ({"Retry_After": "30"}, {"retryAfter": 12}, 30.0),
        ({"Retry_After": "Mon, 21 Sep 2026 14:13:30 GMT"}, {}, 1_790_000_010.0 - NOW),
        ({"Retry_After": "Thu, 01 Jan 1970 00:00:00 GMT"}, {}, 0.0),
        ({"Retry_After": "soon"}, {"retryAfter": "x"}, None),
        ({"Retry_After": "-5"}, {}, 0.0),
        ({"Retry_After": "nan"}, {"retryAfter": True}, None),
    ],
)
def test_retry_after_is_the_larger_of_header_and_body(
    headers: dict[str, str], body: object, expected: float | None
) -> None:
    read = error(body, 429, **headers)
    assert isinstance(read, RateLimitError)
    assert read.retry_after == expected
    assert read.retry_at == (None if expected is None else NOW + expected)


@pytest.mark.parametrize(
    ("reset", "expected"),
    [
        ("12", 12.0),
        (str(NOW + 30), 30.0),
        (str((NOW + 30) * 1000), 30.0),
        ("x", None),
        (None, None),
        ("1e300", None),
        ("nan", None),
    ],
)
def test_the_unit_of_the_reset_header_is_detected(reset: str | None, expected: float | None) -> None:
    headers = {"X-RateLimit-Remaining": "0"} | ({} if reset is None else {"X-RateLimit-Reset": reset})
    seen = rate_limit_headers(CIMultiDict(headers), now=NOW)
    assert seen is not None
    assert seen.remaining == 0
    assert seen.reset_after == expected


def test_an_answer_without_rate_limit_headers_has_none() -> None:
    assert rate_limit_headers(CIMultiDict({"Content-Type": "x"}), now=NOW) is None


def test_statuses_are_matched_by_either_id_and_omitted_ones_are_none() -> None:
    answer = [
        {"customerMessageId": "b", "deliveryStatus": "DELIVERED", "deliveryStatusDescription": "ok"},
        {"customerMessageId": "other", "messageId": "a", "deliveryStatus": "NEW_THING"},
        {"customerMessageId": "not asked", "deliveryStatus": "SENT"},
        "rubbish",
    ]
    found = statuses_of(response(answer), ["a", "b", "c"], Channel.SMS)
    a, b = found["a"], found["b"]
    assert a is not None
    assert b is not None
    assert found["c"] is None
    assert list(found) == ["a", "b", "c"]
    assert (b.status, b.description) == (DeliveryStatus.DELIVERED, "ok")
    assert (a.status, a.status_text) == (DeliveryStatus.UNKNOWN, "NEW_THING")


@pytest.mark.parametrize("body", [b"", b"{}", b"null"])
def test_an_answer_that_is_no_list_proves_no_absence(body: bytes) -> None:
    with pytest.raises(UndecodableAnswerError):
        statuses_of(response(body), ["a"], Channel.SMS)


def test_a_status_that_is_no_object_is_an_error() -> None:
    with pytest.raises(UndecodableAnswerError):
        status_of(response([]), "a", Channel.SMS)


def test_a_registration_is_read_with_what_the_answer_has() -> None:
    full = {"id": "wh-1", "callbackUrl": "https://x/y", "status": "ACTIVE", "createdAt": "2026-04-09T09:00:00Z"}
    assert registration_of(response(full)).id == "wh-1"
    assert registration_of(response(b"", 200), "https://x/y").callback_url == "https://x/y"
    assert "x/y" not in repr(registration_of(response(full)))
    with pytest.raises(UndecodableAnswerError):
        registration_of(response(b""))
