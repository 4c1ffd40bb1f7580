"""Paths and queries: what is written is what is meant, and nothing a value holds can change it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Annotated, Any
from urllib.parse import parse_qsl, unquote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from qlara_async.errors import ConfigurationError
from qlara_async.models.channel import Channel
from qlara_async.protocol.parameters import Comma, batches_of, chosen, expand, read_query, several, write_query


class Query(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True):
    since: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    start_date: date | None = None
    list_ids: Comma | None = None
    is_test: bool | None = None
    search: str | None = None
    channel: Channel | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] | None = None


CHARACTERS = "aZ09 /\\.?#%&=+:;@~\x00\n\x7f\"'éあ🎉"
TEXTS = st.text(st.sampled_from(CHARACTERS + ","), max_size=30)
IDS = st.integers(0) | st.text(st.sampled_from(CHARACTERS), min_size=1, max_size=30)
QUERIES = st.builds(
    Query,
    since=st.none() | st.datetimes(timezones=st.just(timezone(timedelta(hours=-3)))),
    start_date=st.none() | st.dates(),
    list_ids=st.none() | st.lists(IDS, min_size=1).map(tuple),
    is_test=st.none() | st.booleans(),
    search=st.none() | TEXTS,
    channel=st.none() | st.sampled_from(Channel),
    limit=st.none() | st.integers(1, 1000),
)


@given(IDS | TEXTS)
def test_an_id_can_never_change_the_path(value: int | str) -> None:
    try:
        path = expand("/contacts/{id}/price", {"id": value})
    except ConfigurationError:
        assert value in {"", ".", ".."}
        return
    head, segment, tail = path.rsplit("/", 2)
    assert (head, unquote(segment), tail) == ("/contacts", str(value), "price")
    url = URL(f"https://gateway.test/api{path}", encoded=True)
    assert (url.raw_path, url.query_string, url.fragment) == (f"/api{path}", "", "")


@pytest.mark.parametrize("value", ["", ".", "..", None, 1.5, True, b"1"])
def test_what_is_no_id_is_refused_without_being_quoted(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="id must be a number, or text"):
        expand("/contacts/{id}", {"id": value})


@given(QUERIES)
def test_a_query_is_read_back_as_it_was_written(query: Query) -> None:
    written = write_query(query)
    assert written.isascii()
    read = read_query(Query, dict(parse_qsl(written, keep_blank_values=True)))
    ids = None if query.list_ids is None else tuple(map(str, query.list_ids))
    assert read == msgspec.structs.replace(query, list_ids=ids)


def test_the_spelling_of_each_kind_of_value() -> None:
    rome = timezone(timedelta(hours=1))
    query = Query(
        since=datetime(2025, 1, 1, tzinfo=rome),
        start_date=date(2026, 4, 10),
        list_ids=(1, "a/b"),
        is_test=False,
        search="Rossi & figli",
        channel=Channel.SMS,
    )
    assert write_query(query) == (
        "since=2025-01-01T00%3A00%3A00%2B01%3A00&startDate=2026-04-10&listIds=1,a%2Fb&isTest=false"
        "&search=Rossi%20%26%20figli&channel=SMS"
    )
    assert write_query(Query()) == write_query(None) == ""


@pytest.mark.parametrize(
    ("query", "names"),
    [
        (Query(since=datetime(2025, 1, 1)), "since"),
        (Query(start_date=datetime(2025, 1, 1, tzinfo=UTC)), "start_date: "),
        (Query(limit=0), "limit"),
        (Query(limit=1001), "limit"),
        (Query(limit=True), "limit"),
        (Query(channel="393401234567"), "channel: must be one of SMS, RCS, WHATSAPP"),  # type: ignore[arg-type]
        (Query(list_ids=()), "listIds"),
        (Query(list_ids=("393401234567,2",)), "listIds"),
        (Query(search={1, 2}), ""),  # type: ignore[arg-type]
        (Query(search=object()), ""),  # type: ignore[arg-type]
    ],
)
def test_a_value_that_does_not_fit_is_named_and_not_quoted(query: Query, names: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        write_query(query)
    assert names in str(caught.value)
    assert "393401234567" not in str(caught.value)
    assert caught.value.__context__ is None


@given(st.lists(IDS, max_size=600))
def test_batches_hold_every_id_once_and_keep_urls_short(ids: list[int | str]) -> None:
    batches = list(batches_of(ids))
    assert [item for batch in batches for item in batch] == list(dict.fromkeys(ids))
    assert all(0 < len(batch) <= 200 for batch in batches)


@pytest.mark.parametrize("ids", ["123", 123, [""], ["1,2"], [None], [1.0]])
def test_batches_refuse_what_is_no_id(ids: Any) -> None:
    with pytest.raises(ConfigurationError):
        list(batches_of(ids))


def test_words_and_several_ids_are_read_as_people_write_them() -> None:
    assert chosen(Channel, "sms", "channel") is Channel.SMS
    assert chosen(Channel, None, "channel") is None
    with pytest.raises(ConfigurationError, match="channel must be one of SMS, RCS, WHATSAPP"):
        chosen(Channel, "fax", "channel")
    assert several(None) is None
    assert several(item for item in (1, "b")) == (1, "b")
    with pytest.raises(ConfigurationError, match="as a list"):
        several("12")
