"""Lists: every envelope is read, and every walk sees each item once and ends."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlara_async.protocol.paging import Envelope, IdWalk, OneAnswer, PageWalk, Walk, envelope_of

ITEMS: list[dict[str, Any]] = [{"id": 1}, {"id": 2}]


@pytest.mark.parametrize(
    ("body", "total"),
    [
        (ITEMS, None),
        ({"content": ITEMS, "totalElements": 9, "sort": []}, 9),
        ({"data": ITEMS}, None),
        ({"messages": ITEMS}, None),
        ({"profiles": ITEMS, "total": 3}, 3),
        ({"phoneNumbers": ITEMS}, None),
        ({"whateverTheyCallIt": ITEMS, "page": 0}, None),
        ({"data": {"content": ITEMS, "totalElements": 4}}, 4),
        ({"content": [*ITEMS, None, "x"], "totalElements": "many"}, None),
    ],
)
def test_every_envelope_is_read(body: Any, total: int | None) -> None:
    envelope = envelope_of(body)
    assert envelope is not None
    assert (envelope.items, envelope.total) == (ITEMS, total)


def test_no_content_is_an_empty_list_and_an_object_without_one_is_none() -> None:
    assert envelope_of(None) == Envelope([])
    bodies: list[Any] = [{}, {"id": 5}, {"a": [], "b": []}, "text", 5]
    for body in bodies:
        assert envelope_of(body) is None


def collect(walk: Walk, serve: Any) -> tuple[list[dict[str, Any]], int]:
    found: list[dict[str, Any]] = []
    for requests in range(1000):
        asked = walk.ask()
        if asked is None:
            return found, requests
        found += walk.take(serve(**asked))
    raise AssertionError("the walk does not end")


@given(st.integers(0, 60), st.integers(1, 12), st.sampled_from(["bare", "total", "last"]))
def test_a_walk_by_pages_sees_everything_once_in_few_requests(count: int, size: int, told: str) -> None:
    everything = [{"id": number} for number in range(count)]

    def serve(page: int, limit: int) -> Envelope:
        items = everything[page * limit : (page + 1) * limit]
        total = count if told == "total" else None
        last = (page + 1) * limit >= count if told == "last" else None
        return Envelope(items, total, last)

    found, requests = collect(PageWalk(size), serve)
    assert found == everything
    assert requests <= count // size + 1


@given(st.integers(1, 60), st.integers(1, 12))
def test_a_server_that_lowers_the_page_size_and_tells_is_walked_to_the_end(count: int, cap: int) -> None:
    everything = [{"id": number} for number in range(count)]

    def serve(page: int, limit: int) -> Envelope:
        size = min(cap, limit)
        return Envelope(everything[page * size : (page + 1) * size], size=size)

    assert collect(PageWalk(100), serve)[0] == everything


def test_a_server_that_ignores_the_page_is_asked_twice_and_believed_once() -> None:
    found, requests = collect(PageWalk(2), lambda page, limit: Envelope(ITEMS))
    assert (found, requests) == (ITEMS, 2)


@given(st.sets(st.integers(0, 300), max_size=60), st.integers(1, 12), st.none() | st.integers(0, 300))
def test_a_walk_by_ids_sees_each_id_of_its_range_once(ids: set[int], cap: int, last: int | None) -> None:
    def serve(id_from: int = 0, id_to: int = 1000) -> Envelope:
        return Envelope([{"id": number} for number in sorted(ids) if id_from <= number <= id_to][:cap])

    found, _ = collect(IdWalk(None, last), serve)
    assert [item["id"] for item in found] == [number for number in sorted(ids) if last is None or number <= last]


def test_a_walk_by_ids_ends_where_the_server_ignores_the_range_or_has_no_numbers() -> None:
    assert collect(IdWalk(), lambda **asked: Envelope(ITEMS))[0] == ITEMS
    assert collect(IdWalk(), lambda **asked: Envelope([{"id": "a"}]))[0] == [{"id": "a"}]


def test_a_list_that_comes_whole_is_asked_for_once() -> None:
    assert collect(OneAnswer(), lambda: Envelope(ITEMS)) == (ITEMS, 1)
