"""Which field an error is about, and what the codes of SMS Legacy mean."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlara_async import Sms
from qlara_async.errors import ApiError, BadRequestError
from qlara_async.models.legacy_codes import LEGACY_CODES
from qlara_async.protocol.error_fields import field_of
from qlara_async.protocol.requests import Request, send_request
from qlara_async.protocol.responses import Response, error_of

SMS = Sms(destination="+393401234567", sender="ACME", body="Ciao Anna segreta", message_id="m-1")

BODIES: list[tuple[Any, str]] = [
    ({"field": "destination"}, "destination"),
    ({"field": "campaignId", "message": "too long"}, "campaign_id"),
    ({"status": 400, "errors": [{"field": "scheduledDate", "defaultMessage": "wrong"}]}, "scheduled_date"),
    ({"violations": [{"propertyPath": "send.fallbackSms.text", "message": "x"}]}, "send.fallback_sms.text"),
    ({"violations": [{"field": "agentId"}]}, "agent_id"),
    ({"errors": [{"pointer": "#/body/type"}]}, "body.type"),
    ({"errors": [{"source": {"pointer": "/messages/3/destinations/1"}}]}, "destination"),
    ({"detail": [], "errors": [{"loc": ["messages", 0, "scheduling"]}]}, "scheduled_date"),
    ({"invalid-params": [{"name": "udhData"}]}, "udh_data"),
    ({"errors": {"Sender": ["is not allowed"]}}, "sender"),
    ({"errors": ["destination: must not be blank"]}, "destination"),
    ({"message": "destination: must not be blank"}, "destination"),
    ({"message": "messages[0].ids: wrong"}, "message_id"),
    ({"message": "Field `templateId` is wrong"}, "template_id"),
    ({"message": "Field error in object 'send' on field 'phoneNumberId': rejected"}, "phone_number_id"),
]
SILENT: list[Any] = [
    None,
    [],
    {},
    {"message": "Bad request: something is wrong"},
    {"timestamp": "2026-01-01", "status": 400, "error": "Bad Request", "path": "/api/message-server/sms/send"},
    {"field": "+393401234567"},
    {"field": "Ciao Anna"},
    {"field": "segreta"},
    {"errors": [{"field": None}, 7]},
]


def error_for(status: int, body: Any, request: Request | None = None) -> ApiError:
    response = Response(status, {}, msgspec.json.encode(body))
    return error_of(response, request or send_request(SMS), attempts=1, now=0.0)


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize(("body", "field"), BODIES)
def test_a_400_and_a_422_name_the_field_when_the_body_does(body: Any, field: str, status: int) -> None:
    error = error_for(status, body)
    assert error.field == field
    assert f"field {field}" in str(error)


@pytest.mark.parametrize("body", SILENT)
def test_no_field_is_named_where_the_body_names_none_or_a_value(body: Any) -> None:
    error = error_for(400, body)
    assert error.field is None
    assert "segreta" not in str(error)
    assert "3401234567" not in str(error)


def test_other_statuses_name_no_field() -> None:
    assert error_for(403, {"field": "destination"}).field is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["field", "errors", "message", "source", "path", "loc", "violations", "x"]), inner
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_body_is_read_without_failing_and_only_a_short_identifier_comes_out(body: Any) -> None:
    field = field_of(body)
    assert field is None or all(part.isidentifier() and len(part) <= 64 for part in field.split("."))


@pytest.mark.parametrize("code", LEGACY_CODES)
@pytest.mark.parametrize("spelled", [int, str])
def test_every_documented_code_of_the_legacy_table_has_its_meaning(code: int, spelled: type) -> None:
    error = error_for(400, {"status": "fail", "message": "no", "code": spelled(code)})
    assert isinstance(error, BadRequestError)
    assert error.code == code
    assert error.meaning == LEGACY_CODES[code].meaning
    assert f"code {code} ({error.meaning})" in str(error)
    assert LEGACY_CODES[code].advice in str(error)
    assert error.field == LEGACY_CODES[code].field


def test_the_table_is_the_documented_one() -> None:
    assert set(LEGACY_CODES) == {1, 2, 4, 6, 7, 8, 9, 10, 11, 13, 14, 15, 18, 20, 21, 22, 23, 24, 100}


@pytest.mark.parametrize("code", [3, 0, -1, 10**20, "E-77", None, True, 4.0, [4]])
def test_a_code_beyond_the_table_has_no_meaning(code: Any) -> None:
    error = error_for(400, {"code": code})
    assert error.meaning is None
    assert str(error)
