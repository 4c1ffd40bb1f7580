"""Answers whose schemas nobody documents: everything decodes, nothing is lost, nothing personal is shown."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlara_async.errors import UndecodableAnswerError
from qlara_async.models.contacts import Contact, ContactList
from qlara_async.protocol.records import json_of, read_record, record_of
from qlara_async.protocol.responses import Response

ODD: list[Any] = [None, True, 0, -1, 2**70, 0.5, "", "5", "true", "x", [], [1], ["a"], [{}], [[{}]], {}, {"id": {}}]
JSON = st.sampled_from(ODD) | st.integers() | st.lists(st.sampled_from(ODD), max_size=3)
NAMES = [field.encode_name for field in msgspec.structs.fields(Contact)] + ["contactId", "phone", "new"]


def answer(body: Any) -> Response:
    return Response(200, {}, body if isinstance(body, bytes) else msgspec.json.encode(body))


@given(st.dictionaries(st.sampled_from(NAMES), JSON))
def test_any_object_is_a_contact_and_stays_reachable_whole(value: dict[str, Any]) -> None:
    contact = read_record(Contact, value)
    assert contact.raw == value
    msgspec.convert(
        {f.encode_name: getattr(contact, f.name) for f in msgspec.structs.fields(Contact) if f.name not in {"lists"}},
        Contact,
    )  # what was taken is of the type it is declared as
    assert all(isinstance(item, ContactList) for item in contact.lists)


def test_a_contact_of_the_api_page_and_one_of_the_use_case() -> None:
    page = read_record(Contact, {"id": 87, "fullName": "Anna R", "phoneNumber": "+39340", "isValid": True, "x": [1]})
    assert (page.id, page.full_name, page.phone_number, page.is_valid) == (87, "Anna R", "+39340", True)
    assert page.raw["x"] == [1]
    case = read_record(Contact, {"id": "cnt_1", "phone": "+39341", "lists": [{"id": "lst_1", "name": "VIP"}, 5]})
    assert (case.id, case.phone_number) == ("cnt_1", "+39341")
    assert [(item.id, item.name) for item in case.lists] == [("lst_1", "VIP")]


def test_what_fits_loosely_is_taken_and_what_does_not_is_the_default() -> None:
    contact = read_record(Contact, {"phoneNumber": 39340, "isValid": "true", "isTest": "perhaps", "gender": None})
    assert (contact.phone_number, contact.is_valid, contact.is_test, contact.gender) == ("39340", True, None, None)
    assert contact.id == ""


@pytest.mark.parametrize("body", [{"data": {"id": 5}}, {"contact": {"id": 5}, "status": "ok"}, {"id": 5}])
def test_an_object_wrapped_in_another_is_found(body: Any) -> None:
    assert record_of(answer(body), Contact).id == 5


@pytest.mark.parametrize("body", [[], "text", 5, b"", b"<html>", b"\xff", b'{"a":' * 5000])
def test_what_is_no_object_is_undecodable_and_kept(body: Any) -> None:
    response = answer(body)
    with pytest.raises(UndecodableAnswerError) as caught:
        record_of(response, Contact)
    assert caught.value.body == response.body


def test_an_empty_body_is_nothing_and_not_an_error() -> None:
    assert json_of(answer(b" ")) is None


def test_g11_the_repr_of_a_record_shows_its_id_and_nothing_personal() -> None:
    contact = read_record(Contact, {"id": 5, "fullName": "Anna", "phoneNumber": "+39340", "email": "a@b.it", "n": "N"})
    assert repr(contact) == "Contact(id=5)"
    assert list(contact.__rich_repr__()) == [("id", 5)]
