from __future__ import annotations

import logging
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from qlara_async.errors import ConfigurationError
from qlara_async.models.channel import Channel, DeliveryStatus
from qlara_async.models.events import Delivery, Event, Inbound, Read, UnknownEvent
from qlara_async.webhooks import Context, Router

NOW = datetime(2026, 4, 9, 12, 0, tzinfo=UTC)
DELIVERED = Delivery(channel=Channel.SMS, message_id="m", received_at=NOW, status=DeliveryStatus.DELIVERED)
FAILED = Delivery(channel=Channel.SMS, message_id="m", received_at=NOW, status=DeliveryStatus.ERROR)
READ = Read(channel=Channel.RCS, message_id="m", received_at=NOW)
INBOUND = Inbound(channel=Channel.RCS, message_id="m", received_at=NOW, text="stop")
UNKNOWN = UnknownEvent(channel="", message_id=None, received_at=NOW)


async def handle(event: Event) -> None: ...


def named(router: Router, kind: str, *names: str, predicate: Any = None) -> None:
    for name in names:
        getattr(router, f"on_{kind}")(predicate, name=name)(handle)


def matching(router: Router, event: Event) -> list[str]:
    return router.match(event, lambda error, *_: pytest.fail(repr(error)))


def test_decorators_return_the_function_untouched() -> None:
    router = Router()

    async def first(event: Delivery) -> None: ...
    async def second(event: Inbound, ctx: Context) -> None: ...

    assert router.on_delivery()(first) is first
    assert router.on_inbound(lambda event: event.text == "stop")(second) is second
    assert matching(router, DELIVERED) == [f"{__name__}.{first.__qualname__}"]
    assert matching(router, INBOUND) == [f"{__name__}.{second.__qualname__}"]


def test_each_kind_of_event_has_its_handlers() -> None:
    router = Router()
    for kind in ("delivery", "read", "inbound", "unknown"):
        named(router, kind, kind)
    events = [DELIVERED, READ, INBOUND, UNKNOWN]
    assert [matching(router, event) for event in events] == [["delivery"], ["read"], ["inbound"], ["unknown"]]


def test_all_matching_handlers_get_a_receipt_in_order_of_registration() -> None:
    router, inner = Router(), Router()
    named(router, "delivery", "a")
    router.include(inner)
    named(inner, "delivery", "c")
    named(router, "delivery", "failed", predicate=lambda event: event.status is DeliveryStatus.ERROR)
    named(router, "delivery", "b")
    assert matching(router, DELIVERED) == ["a", "b", "c"]
    assert matching(router, FAILED) == ["a", "failed", "b", "c"]


def test_the_first_matching_handler_gets_an_inbound_message_own_before_included() -> None:
    router, one, two = Router(), Router(), Router()
    router.include(one)
    router.include(two)
    named(two, "inbound", "two")
    assert matching(router, INBOUND) == ["two"]
    named(one, "inbound", "one")
    assert matching(router, INBOUND) == ["one"]
    named(router, "inbound", "picky", predicate=lambda event: event.text == "start")
    assert matching(router, INBOUND) == ["one"]
    named(router, "inbound", "own")
    assert matching(router, INBOUND) == ["own"]


def test_observers_get_an_inbound_message_besides_the_handler_it_goes_to() -> None:
    router, inner = Router(), Router()
    router.include(inner)
    inner.observe_inbound(name="watching")(handle)
    inner.observe_inbound(lambda event: event.text == "start", name="picky")(handle)
    assert matching(router, INBOUND) == ["watching"]
    named(router, "inbound", "own", "second")
    assert matching(router, INBOUND) == ["own", "watching"]
    router.observe_inbound(name="first to see")(handle)
    assert matching(router, INBOUND) == ["own", "first to see", "watching"]


def test_a_router_included_by_two_others_runs_once() -> None:
    router, left, right, shared = Router(), Router(), Router(), Router()
    for outer, inner in ((router, left), (router, right), (left, shared), (right, shared)):
        outer.include(inner)
    named(shared, "read", "shared")
    assert matching(router, READ) == ["shared"]


def test_a_predicate_that_raises_does_not_match_and_is_reported_and_stops_no_other() -> None:
    router = Router()
    named(router, "read", "broken", predicate=lambda event: event.nothing)
    named(router, "read", "sound")
    told: list[tuple[type[BaseException], Event, str]] = []
    assert router.match(READ, lambda error, event, name: told.append((type(error), event, name))) == ["sound"]
    assert told == [(AttributeError, READ, "broken")]


def test_circles_are_refused() -> None:
    router, inner, innermost = Router(), Router(), Router()
    router.include(inner)
    inner.include(innermost)
    for outer, included in ((router, router), (innermost, router), (inner, router), (router, inner)):
        with pytest.raises(ConfigurationError):
            outer.include(included)
    assert matching(router, READ) == []


def test_namesakes_are_told_apart_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    router, inner = Router(), Router()
    router.include(inner)
    named(inner, "read", "same")
    named(router, "read", "same", "same")
    with caplog.at_level(logging.WARNING):
        assert matching(router, READ) == ["same", "same#2", "same#3"]
    assert [record.args and record.args for record in caplog.records] == [("same", "same#2"), ("same", "same#3")]


class Bound:
    async def method(self, event: Event) -> None: ...
    async def __call__(self, event: Event, ctx: Context) -> None: ...


@pytest.mark.parametrize(
    ("handler", "takes_context"),
    [(handle, False), (Bound().method, False), (Bound(), True), (partial(Bound.__call__, Bound()), True)],
)
def test_what_may_be_a_handler(handler: Any, takes_context: bool) -> None:
    router = Router()
    router.on_read(name="it")(handler)
    assert router.registration("it").takes_context is takes_context


def test_a_handler_that_can_do_with_the_event_gets_the_event() -> None:
    router = Router()

    async def with_default(event: Event, retries: int = 3) -> None: ...

    router.on_read(name="it")(with_default)
    assert not router.registration("it").takes_context


async def no_argument() -> None: ...
async def three(event: Event, ctx: Context, more: int) -> None: ...
async def keyword_only(event: Event, *, more: int) -> None: ...
async def generator(event: Event) -> Any:
    yield event


def plain(event: Event) -> None: ...


@pytest.mark.parametrize("handler", [no_argument, three, keyword_only, generator, plain, Bound, None, 5])
def test_what_may_not_is_refused_at_registration(handler: Any) -> None:
    router = Router()
    with pytest.raises(ConfigurationError):
        router.on_read(name="it")(handler)
    assert matching(router, READ) == []


def test_forgotten_parentheses_are_noticed() -> None:
    decorator: Any = Router().on_read
    with pytest.raises(ConfigurationError, match=r"\(\)"):
        decorator(handle)


def test_a_predicate_must_be_a_function() -> None:
    router: Any = Router()
    with pytest.raises(ConfigurationError):
        router.on_read("text")


def test_a_handler_without_a_name_needs_one() -> None:
    with pytest.raises(ConfigurationError, match="name="):
        Router().on_read()(partial(handle))
