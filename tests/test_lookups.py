"""Was it sent? What happens after a send that ended in doubt."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlara_async import QlaraClient, RetryPolicy, RetryScheduled, Sms, Timeouts
from qlara_async.errors import ConnectionFailed, DeliveryUnknownError, InternalServerError
from qlara_async.models.answers import MessageStatus
from qlara_async.models.channel import Channel, DeliveryStatus
from qlara_async.models.telemetry import ClientEvent
from qlara_async.protocol.absence import Presence, presence_of
from qlara_async.sending.calls import CallOptions
from qlara_async.testing.clock import VirtualClock

from .wire import Action, WireGateway, accept, answer, drop, hang

pytestmark = pytest.mark.anyio


def sms(text: str = "Ciao", message_id: str | None = None) -> Sms:
    return Sms(destination="+393401234567", sender="ACME", body=text, message_id=message_id)


def routed(gateway: WireGateway, *, sends: Iterable[Action] = (), visible: Callable[[str], bool]) -> None:
    """Sends follow `sends`, then are accepted; status queries show the ids for which `visible` holds."""
    script = list(sends)

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        request = gateway.seen[-1]
        if request.method == "POST":
            return await (script.pop(0) if script else accept)(reader, writer)
        (ids,) = parse_qs(urlsplit(request.target).query)["ids"]
        found = [{"customerMessageId": item, "deliveryStatus": "SENT"} for item in ids.split(",") if visible(item)]
        return await answer(200, json.dumps(found).encode())(reader, writer)

    gateway.default = act


def lookups(gateway: WireGateway) -> list[set[str]]:
    queries = [request.target for request in gateway.seen if request.method == "GET"]
    return [set(parse_qs(urlsplit(query).query)["ids"][0].split(",")) for query in queries]


async def test_g1_a_message_the_gateway_has_is_its_receipt_and_not_sent_again(
    qlara: QlaraClient, gateway: WireGateway
) -> None:
    routed(gateway, sends=[drop], visible=lambda _: True)
    receipt = await qlara.send(sms())
    assert receipt.looked_up
    assert dict(gateway.message_ids) == {receipt.message_id: 1}


async def test_g1_a_message_that_is_absent_is_sent_again(
    qlara: QlaraClient, gateway: WireGateway, clock: VirtualClock
) -> None:
    await qlara.send(sms(message_id="control"))
    routed(gateway, sends=[drop], visible=lambda item: item == "control")
    began = clock.monotonic()
    receipt = await qlara.send(sms(message_id="mine"))
    assert not receipt.looked_up
    assert receipt.attempts == 2
    assert gateway.message_ids["mine"] == 2
    assert clock.monotonic() - began >= 10  # settle
    assert lookups(gateway) == [{"control", "mine"}] * 2


@pytest.mark.parametrize("arrived", [True, False])
async def test_g1_a_send_that_is_not_answered_in_time_is_looked_up(
    arrived: bool, qlara: QlaraClient, gateway: WireGateway
) -> None:
    await qlara.send(sms(message_id="control"))
    routed(gateway, sends=[hang], visible=lambda item: arrived or item == "control")
    receipt = await qlara.with_options(timeouts=Timeouts(read=0.5)).send(sms(message_id="mine"))
    assert receipt.looked_up is arrived
    assert gateway.message_ids["mine"] == (1 if arrived else 2)


async def test_g1_without_a_control_nothing_proves_absence(qlara: QlaraClient, gateway: WireGateway) -> None:
    routed(gateway, sends=[drop], visible=lambda _: False)
    with pytest.raises(DeliveryUnknownError):
        await qlara.send(sms(message_id="mine"))
    assert gateway.message_ids["mine"] == 1


async def test_g1_a_control_that_cannot_be_looked_up_proves_nothing(qlara: QlaraClient, gateway: WireGateway) -> None:
    await qlara.send(sms(message_id="control"))
    routed(gateway, sends=[answer(503)], visible=lambda _: False)
    with pytest.raises(DeliveryUnknownError):
        await qlara.send(sms(message_id="mine"))
    assert gateway.message_ids["mine"] == 1


async def test_g1_a_message_in_doubt_is_no_control_of_its_own(qlara: QlaraClient, gateway: WireGateway) -> None:
    """It was accepted before, and the same id is sent again: the answer must be about it."""
    await qlara.send(sms(message_id="mine"))
    routed(gateway, sends=[drop, drop], visible=lambda _: True)
    assert (await qlara.send(sms(message_id="mine"))).looked_up
    routed(gateway, sends=[drop], visible=lambda _: False)
    with pytest.raises(DeliveryUnknownError):
        await qlara.send(sms(message_id="mine"))
    assert gateway.message_ids["mine"] == 3


async def test_the_first_accepted_message_is_a_control_too(qlara: QlaraClient, gateway: WireGateway) -> None:
    """The latest may not be visible yet."""
    for name in ("first", "second", "latest"):
        await qlara.send(sms(message_id=name))
    routed(gateway, sends=[drop], visible=lambda item: item == "first")
    assert (await qlara.send(sms(message_id="mine"))).attempts == 2
    assert lookups(gateway)[-1] == {"first", "latest", "mine"}


async def test_what_ended_long_ago_is_looked_up_at_once(
    qlara: QlaraClient, gateway: WireGateway, clock: VirtualClock
) -> None:
    await qlara.send(sms(message_id="control"))
    routed(gateway, visible=lambda item: item == "control")
    began = clock.monotonic()
    finding = await qlara._lookups.find("mine", Channel.SMS, CallOptions(), patience=300, ended=began - 100)
    assert finding.presence is Presence.ABSENT
    assert clock.monotonic() - began < 0.5


async def test_what_is_absent_when_the_time_is_over_is_not_sent_again(gateway: WireGateway) -> None:
    late = VirtualClock(start=1_000.1)  # between two looks: the one after `settle` comes a little later
    retry = RetryPolicy(max_elapsed=10, settle=10)
    async with QlaraClient("k", base_url=gateway.url, clock=late, retry=retry) as qlara:
        await qlara.send(sms(message_id="control"))
        routed(gateway, sends=[drop], visible=lambda item: item == "control")
        with pytest.raises(ConnectionFailed) as caught:
            await qlara.send(sms(message_id="mine"))
    assert caught.value.sent == "no"
    assert gateway.message_ids["mine"] == 1


async def test_a_second_doubt_has_the_time_that_the_first_has_left(
    qlara: QlaraClient, gateway: WireGateway, clock: VirtualClock
) -> None:
    await qlara.send(sms(message_id="control"))
    routed(gateway, sends=[drop, drop], visible=lambda item: item == "control")
    began = clock.monotonic()
    with pytest.raises(DeliveryUnknownError):
        await qlara.with_options(retry=RetryPolicy(max_elapsed=15)).send(sms(message_id="mine"))
    assert clock.monotonic() - began < 15
    assert gateway.message_ids["mine"] == 2


@pytest.mark.parametrize(
    "broken", [answer(500), answer(200, b"{}"), answer(404), drop], ids=["500", "{}", "404", "drop"]
)
async def test_g1_a_failed_lookup_proves_nothing(broken: Action, qlara: QlaraClient, gateway: WireGateway) -> None:
    await qlara.send(sms(message_id="control"))
    gateway.script = [drop]
    gateway.default = broken
    with pytest.raises(DeliveryUnknownError):
        await qlara.with_options(retry=RetryPolicy(max_attempts=2)).send(sms(message_id="mine"))
    assert gateway.message_ids["mine"] == 1


async def test_g1_a_message_visible_only_after_a_while_is_found_in_time(
    qlara: QlaraClient, gateway: WireGateway, clock: VirtualClock
) -> None:
    await qlara.send(sms(message_id="control"))
    visible_from = clock.monotonic() + 8
    routed(gateway, sends=[drop], visible=lambda item: item == "control" or clock.monotonic() >= visible_from)
    assert (await qlara.send(sms(message_id="mine"))).looked_up
    assert gateway.message_ids["mine"] == 1


async def test_an_early_look_never_proves_absence(
    qlara: QlaraClient, gateway: WireGateway, clock: VirtualClock
) -> None:
    await qlara.send(sms(message_id="control"))
    routed(gateway, sends=[drop], visible=lambda item: item == "control")
    began = clock.monotonic()
    short = qlara.with_options(retry=RetryPolicy(max_elapsed=5))
    with pytest.raises(DeliveryUnknownError):
        await short.send(sms(message_id="mine"))
    assert clock.monotonic() - began < 5
    assert gateway.message_ids["mine"] == 1


async def test_what_is_absent_to_the_last_attempt_is_proved_not_accepted(
    qlara: QlaraClient, gateway: WireGateway
) -> None:
    await qlara.send(sms(message_id="control"))
    twice = qlara.with_options(retry=RetryPolicy(max_attempts=2))
    routed(gateway, sends=[drop, drop], visible=lambda item: item == "control")
    with pytest.raises(ConnectionFailed) as caught:
        await twice.send(sms(message_id="mine"))
    assert caught.value.sent == "no"
    assert gateway.message_ids["mine"] == 2
    routed(gateway, sends=[answer(500), answer(500)], visible=lambda item: item == "control")
    with pytest.raises(InternalServerError):
        await twice.send(sms(message_id="other"))
    async with twice.bulk([sms(message_id="third")]) as job:
        routed(gateway, sends=[drop, drop], visible=lambda item: item == "control")
        assert [outcome.state async for outcome in job] == ["failed"]


async def test_doubts_that_arise_together_share_a_request(qlara: QlaraClient, gateway: WireGateway) -> None:
    routed(gateway, sends=[drop] * 30, visible=lambda _: True)
    receipts = await asyncio.gather(*(qlara.send(sms(message_id=f"m{number}")) for number in range(30)))
    assert all(receipt.looked_up for receipt in receipts)
    assert len(lookups(gateway)) <= 3
    assert set(gateway.message_ids.values()) == {1}


async def test_g1_a_doubt_that_shares_a_request_keeps_its_own_settle(gateway: WireGateway) -> None:
    still, ended = VirtualClock(jump=False), list[ClientEvent]()
    visible_from = still.monotonic() + 5
    shown = {"control": 0.0, "slow": visible_from}
    async with QlaraClient("k", base_url=gateway.url, clock=still, on_event=ended.append) as qlara:
        await qlara.send(sms(message_id="control"))
        routed(gateway, sends=[drop, drop], visible=lambda item: still.monotonic() >= shown.get(item, 1e9))
        hasty = qlara.with_options(retry=RetryPolicy(settle=1))
        sending = []
        for name, view in (("hasty", hasty), ("slow", qlara)):
            sending.append(asyncio.create_task(view.send(sms(message_id=name))))
            while len(ended) <= len(sending):
                await asyncio.sleep(0)
        while not all(task.done() for task in sending):
            await still.advance(0.25)
        assert [task.result().looked_up for task in sending] == [False, True]
    assert lookups(gateway)[0] == {"control", "hasty", "slow"}
    assert gateway.message_ids == {"control": 1, "hasty": 2, "slow": 1}


async def test_a_repeat_after_absence_is_told(gateway: WireGateway, clock: VirtualClock) -> None:
    events: list[ClientEvent] = []
    async with QlaraClient("k", base_url=gateway.url, clock=clock, on_event=events.append) as qlara:
        await qlara.send(sms(message_id="control"))
        routed(gateway, sends=[drop], visible=lambda item: item == "control")
        await qlara.send(sms(message_id="mine"))
    retries = [event for event in events if isinstance(event, RetryScheduled)]
    assert [(event.reason, event.error, event.message_id) for event in retries] == [
        ("absent", "ConnectionFailed", "mine")
    ]


@pytest.mark.usefixtures("no_task_left")
async def test_g12_closing_the_client_ends_a_lookup_and_leaves_the_doubt(gateway: WireGateway) -> None:
    still = VirtualClock(jump=False)
    qlara = QlaraClient("k", base_url=gateway.url, clock=still)
    gateway.script = [drop]
    sending = asyncio.create_task(qlara.send(sms(message_id="mine")))
    while not still.timers:
        await asyncio.sleep(0)
    await qlara.aclose()
    with pytest.raises(DeliveryUnknownError):
        await sending


@pytest.mark.usefixtures("no_task_left")
async def test_g12_a_cancelled_send_does_not_disturb_the_doubts_of_others(
    qlara: QlaraClient, gateway: WireGateway
) -> None:
    routed(gateway, sends=[drop, drop], visible=lambda _: True)
    first, second = (asyncio.create_task(qlara.send(sms(message_id=name))) for name in ("a", "b"))
    while len(gateway.seen) < 2:
        await asyncio.sleep(0)
    first.cancel()
    assert (await second).looked_up
    with pytest.raises(asyncio.CancelledError):
        await first


IDS = st.sampled_from(["mine", "control", "other", "third"])


@given(st.dictionaries(IDS, st.booleans()), st.sets(IDS), st.floats(0, 20), st.floats(0, 20))
def test_g1_absence_takes_time_a_control_and_an_answer(
    answered: dict[str, bool], accepted: set[str], waited: float, settle: float
) -> None:
    entry = MessageStatus(message_id="x", channel=Channel.SMS, status=DeliveryStatus.SENT)
    known = {name: entry if shown else None for name, shown in answered.items()}
    presence = presence_of("mine", known, accepted=accepted - {"mine"}, waited=waited, settle=settle)
    if answered.get("mine"):
        assert presence is Presence.FOUND
    elif waited >= settle and "mine" in answered and any(answered.get(name) for name in accepted - {"mine"}):
        assert presence is Presence.ABSENT
    else:
        assert presence is Presence.OPEN
