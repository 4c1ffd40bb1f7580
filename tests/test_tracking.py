"""Delivery tracking against the real sandbox: callbacks, polls, waits."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from qlara_async import QlaraClient, Rcs, Sms, WhatsApp
from qlara_async.errors import ClientStateError, ConfigurationError, StatusTimeout, StatusUnreachableError
from qlara_async.models.answers import Receipt
from qlara_async.models.channel import Channel, DeliveryStatus
from qlara_async.models.message import FallbackSms, Message
from qlara_async.models.options import Priority
from qlara_async.sandbox import CallbackPolicy, Fault, Life
from qlara_async.tracking import DeliveryTracker, StatusChange

from .tracking_world import TO, World, until

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_task_left")]

DELIVERED, READ, ERROR = DeliveryStatus.DELIVERED, DeliveryStatus.READ, DeliveryStatus.ERROR
NEVER = {"life": Life(final=1e9)}
AT_ONCE = {"life": Life(final=0.0, read=0.0)}
RCS = Rcs(destination=TO, agent_id=7, body="Ciao")
TWO_PARTS = Sms(destination=TO, sender="ACME", body="Ciao " * 60)


async def ended(task: asyncio.Task[Any], world: World, within: float = 300.0) -> Any:
    for _ in range(int(within)):
        if task.done():
            break
        await world.advance(1.0, step=1.0)
    return await task


class TestWaiting:
    async def test_by_callback(self) -> None:
        async with World(receiver=True) as world:
            receipt = await world.send()
            task = asyncio.create_task(world.tracker.wait_until(receipt, "delivered", timeout=60))
            status = await ended(task, world)
            assert (status.status, status.channel, status.message_id) == (DELIVERED, "SMS", receipt.message_id)
            assert world.polls == 0

    async def test_by_polling_without_a_receiver(self) -> None:
        async with World() as world:
            receipt = await world.send()
            task = asyncio.create_task(world.tracker.wait_until(receipt, "delivered", timeout=60))
            assert (await ended(task, world)).status is DELIVERED
            assert world.polls == 1

    async def test_a_lost_callback_does_not_hold_up_those_who_wait(self) -> None:
        async with World(receiver=True, sandbox={"callbacks": CallbackPolicy(lost=1.0)}) as world:
            receipt = await world.send()
            start = world.clock.monotonic()
            task = asyncio.create_task(world.tracker.wait_until(receipt, "delivered", timeout=60))
            assert (await ended(task, world)).status is DELIVERED
            assert world.clock.monotonic() - start < 20

    async def test_no_wake_up_is_lost_if_the_status_came_first(self) -> None:
        async with World(receiver=True) as world:
            receipt = await world.send()
            await world.advance(1)
            await until(lambda: world.told)
            for target in ("delivered", "final"):
                assert (await world.tracker.wait_until(receipt.message_id, target, timeout=0)).status is DELIVERED

    async def test_many_waiters_share_polls(self) -> None:
        async with World() as world:
            receipts = [await world.send() for _ in range(20)]
            tasks = [
                asyncio.create_task(world.tracker.wait_until(receipt, "final", timeout=60))
                for receipt in receipts
                for _ in range(5)
            ]
            for task in tasks:
                assert (await ended(task, world)).status is DELIVERED
            assert world.polls == 1

    async def test_one_callback_wakes_all_who_wait_for_a_message(self) -> None:
        async with World(receiver=True, sandbox={"life": Life(final=3.0)}) as world:
            receipt = await world.send()

            async def watched() -> list[DeliveryStatus]:
                async with world.tracker.watch(receipt) as statuses:
                    return [status.status async for status in statuses]

            waits = [
                asyncio.create_task(world.tracker.wait_until(receipt, target))
                for target in ("delivered", "final")
                for _ in range(25)
            ]
            watches = [asyncio.create_task(watched()) for _ in range(25)]
            await world.advance(1)
            for task in waits[::5]:
                task.cancel()
            await world.advance(3)
            await until(lambda: world.told)
            kept = [task for number, task in enumerate(waits) if number % 5]
            for _ in range(10):
                await asyncio.sleep(0)
            assert all(task.done() for task in [*kept, *watches])
            assert {status.status for status in await asyncio.gather(*kept)} == {DELIVERED}
            assert await asyncio.gather(*watches) == [[DELIVERED]] * 25
            assert world.polls == 0

    async def test_intervals_of_a_wait_grow(self) -> None:
        async with World(sandbox=NEVER) as world:
            receipt = await world.send()
            with pytest.raises(StatusTimeout):
                task = asyncio.create_task(world.tracker.wait_until(receipt, "final", timeout=300))
                await ended(task, world, 400)
            assert 6 <= world.polls <= 14

    async def test_a_timeout_tells_the_last_status(self) -> None:
        async with World(sandbox=NEVER) as world:
            receipt = await world.send()
            start = world.clock.monotonic()
            task = asyncio.create_task(world.tracker.wait_until(receipt, "delivered", timeout=10))
            with pytest.raises(StatusTimeout) as caught:
                await ended(task, world)
            assert isinstance(caught.value, TimeoutError)
            assert caught.value.status is not None
            assert caught.value.status.status is DeliveryStatus.SENT
            assert caught.value.message_id == receipt.message_id
            assert world.clock.monotonic() - start == 10
            assert TO[1:] not in str(caught.value)

    @pytest.mark.parametrize("outcome", [ERROR, DeliveryStatus.EXPIRED])
    async def test_a_failed_message_ends_the_wait(self, outcome: DeliveryStatus) -> None:
        async with World() as world:
            world.sandbox.outcome(TO, outcome)
            receipt = await world.send()
            task = asyncio.create_task(world.tracker.wait_until(receipt, "delivered", timeout=60))
            with pytest.raises(StatusUnreachableError) as caught:
                await ended(task, world)
            assert caught.value.status is not None
            assert caught.value.status.status is outcome
            assert (await world.tracker.wait_until(receipt, "final")).status is outcome

    async def test_an_sms_will_not_be_read(self) -> None:
        async with World(receiver=True) as world:
            receipt = await world.send()
            task = asyncio.create_task(world.tracker.wait_until(receipt, "read", timeout=60))
            with pytest.raises(StatusUnreachableError):
                await ended(task, world)

    async def test_a_read_receipt(self) -> None:
        async with World(receiver=True) as world:
            receipt = await world.send(RCS)
            task = asyncio.create_task(world.tracker.wait_until(receipt, "read", timeout=60))
            assert (await ended(task, world)).status is READ
            await until(lambda: len(world.told) == 2)
            assert world.told == [DELIVERED, READ]
            assert [change.final for change in world.changes] == [True, True]

    async def test_an_id_of_another_process_needs_its_channel(self) -> None:
        async with World() as world:
            world.tracker._stop_listening()
            receipt = await world.send()
            with pytest.raises(ConfigurationError, match="channel"):
                await world.tracker.wait_until(receipt.message_id, "final")
            task = asyncio.create_task(world.tracker.wait_until(receipt.message_id, "final", channel="sms"))
            assert (await ended(task, world)).status is DELIVERED

    async def test_what_cannot_be_waited_for(self) -> None:
        async with World() as world:
            receipt = await world.send()
            with pytest.raises(ConfigurationError, match="delivered, read, final"):
                await world.tracker.wait_until(receipt, "sent")  # type: ignore[arg-type]

    async def test_g12_cancelling_a_wait_leaves_nothing(self) -> None:
        async with World(sandbox=NEVER) as world:
            receipt = await world.send()
            before = world.clock.timers
            tasks = [asyncio.create_task(world.tracker.wait_until(receipt, "final", timeout=1e6)) for _ in range(3)]
            await world.advance(1)
            assert len(world.tracker._waiters) == 3
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert len(world.tracker._waiters) == 0
            assert receipt.message_id not in world.tracker._waiters
            await world.advance(10)
            assert world.clock.timers <= before + 1

    async def test_g12_closing_ends_all_waits(self) -> None:
        async with World(sandbox=NEVER) as world:
            receipt = await world.send()
            task = asyncio.create_task(world.tracker.wait_until(receipt, "final"))
            await world.advance(1)
            await world.tracker.aclose()
            with pytest.raises(ClientStateError):
                await task
            with pytest.raises(ClientStateError):
                await world.tracker.wait_until(receipt, "final")
            await world.tracker.aclose()
            await world.send()

    async def test_a_message_nobody_hears_of_is_given_up(self) -> None:
        async with World(sandbox=NEVER, give_up_after=600.0) as world:
            receipt = await world.send()
            task = asyncio.create_task(world.tracker.wait_until(receipt, "final"))
            with pytest.raises(StatusTimeout, match="given up"):
                await ended(task, world, 700)
            polls = world.polls
            await world.advance(3600, step=60)
            assert world.polls == polls
            assert world.tracker.unfinished == 0


class TestWatching:
    async def test_statuses_as_they_come(self) -> None:
        async with World(receiver=True) as world:
            receipt = await world.send(RCS)

            async def watched() -> list[DeliveryStatus]:
                async with world.tracker.watch(receipt, until="read") as statuses:
                    return [status.status async for status in statuses]

            assert await ended(asyncio.create_task(watched()), world) == [DELIVERED, READ]

    async def test_what_is_known_comes_first(self) -> None:
        async with World(receiver=True) as world:
            receipt = await world.send()
            await world.advance(1)
            await until(lambda: world.told)
            async with world.tracker.watch(receipt) as statuses:
                assert [status.status async for status in statuses] == [DELIVERED]

    async def test_g12_leaving_early_leaves_nothing(self) -> None:
        async with World(sandbox=NEVER) as world:
            receipt = await world.send()
            async with world.tracker.watch(receipt) as statuses:
                next_one = asyncio.ensure_future(anext(statuses))
                await world.advance(1)
                next_one.cancel()
                await asyncio.gather(next_one, return_exceptions=True)
                assert len(world.tracker._waiters) == 1
            assert len(world.tracker._waiters) == 0

    async def test_one_task_at_a_time(self) -> None:
        async with World(sandbox=NEVER) as world, world.tracker.watch(await world.send()) as statuses:
            first = asyncio.ensure_future(anext(statuses))
            await world.advance(1)
            with pytest.raises(ClientStateError):
                await anext(statuses)
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)

    async def test_closing_the_tracker_ends_it(self) -> None:
        async with World(sandbox=NEVER) as world, world.tracker.watch(await world.send()) as statuses:
            waiting = asyncio.ensure_future(anext(statuses))
            await world.advance(1)
            await world.tracker.aclose()
            with pytest.raises(ClientStateError):
                await waiting


class TestRepair:
    async def test_g13_a_lost_callback_is_repaired_through_the_same_inbox(self) -> None:
        async with World(receiver=True, sandbox={"callbacks": CallbackPolicy(lost=1.0)}) as world:
            receipts = [await world.send() for _ in range(5)]
            await world.advance(50)
            assert world.polls == 0
            await world.advance(20)
            await until(lambda: len(world.told) == 5)
            assert world.polls == 1
            assert {change.source_kind for change in world.changes} == {"poll"}
            assert [event.source_kind for event in world.deliveries] == ["poll"] * 5
            assert {event.message_id for event in world.deliveries} == {receipt.message_id for receipt in receipts}
            assert b"DELIVERED" in world.deliveries[0].raw
            await world.advance(7200, step=300)
            assert world.polls == 1

    async def test_g13_a_callback_after_the_poll_is_the_same_event(self) -> None:
        late = {"callbacks": CallbackPolicy(reorder=1.0, reorder_within=300.0), "seed": 2}
        async with World(receiver=True, sandbox=late) as world:
            await world.send()
            await world.advance(70)
            await until(lambda: world.told)
            assert world.sandbox.callbacks.acked == 0
            await world.advance(300)
            await until(lambda: world.sandbox.callbacks.acked == 1)
            await world.receiver.idle()
            await world.tracker.idle()
            assert world.told == [DELIVERED]
            assert [event.source_kind for event in world.deliveries] == ["poll"]

    @pytest.mark.parametrize("durable", [False, True])
    async def test_g13_callbacks_lost_doubled_and_reordered_are_each_told_once(
        self, durable: bool, tmp_path: Path
    ) -> None:
        inbox = tmp_path / "inbox.db" if durable else None
        policy = CallbackPolicy(lost=0.3, duplicate=0.3, reorder=0.5, reorder_within=200.0, shape="mix", record=True)
        life = Life(errors=0.2, expiries=0.1)
        world = World(receiver=True, inbox=inbox, sandbox={"callbacks": policy, "life": life})
        async with world:
            messages = [RCS, TWO_PARTS, Sms(destination=TO, sender="ACME", body="Ciao")] * 15
            receipts = [await world.send(type(message)(**_fields(message))) for message in messages]
            while world.tracker.unfinished or not world.sandbox.is_idle:
                await world.advance(60)
            await world.receiver.idle()
            await world.tracker.idle()
            self._assert_mishandled(world)
            for receipt in receipts:
                await self._assert_told_once(world, receipt)

    def _assert_mishandled(self, world: World) -> None:
        """Callbacks were lost, doubled and reordered, and polls repaired what was lost."""
        counts, stats = world.sandbox.callbacks, world.receiver.stats()
        assert min(counts.lost, counts.duplicated, counts.reordered) > 8
        assert counts.failed == 0
        assert stats.duplicates >= counts.duplicated
        assert stats.conflicts == 0
        assert {change.source_kind for change in world.changes} == {"callback", "poll"}

    async def _assert_told_once(self, world: World, receipt: Receipt) -> None:
        """Handlers saw each outcome of the message once, in order, and the final one."""
        told = [change for change in world.changes if change.message_id == receipt.message_id]
        outcomes = [_outcome(change) for change in told]
        assert set(Counter(outcomes).values()) == {1}
        assert outcomes == sorted(outcomes, key=["SENT", "FAILED", "DELIVERED", "READ"].index)
        status = await world.qlara.messages.status(receipt.message_id, channel=receipt.channel)
        final = "DELIVERED" if status.status is DELIVERED else "FAILED"
        was_read = (receipt.message_id, "READ", 1) in world.sandbox.acked
        assert outcomes[-1] == ("READ" if was_read else final)
        assert told[-1].final

    async def test_g13_a_poll_that_fails_changes_nothing(self) -> None:
        async with World() as world:
            await world.send()
            world.sandbox.fault(None, Fault.ERROR_BEFORE, times=3, route="status")
            await world.advance(100)
            assert world.polls == 0
            assert world.told == []
            await world.advance(120)
            await until(lambda: world.told == [DELIVERED])

    async def test_g13_a_full_inbox_is_tried_again(self) -> None:
        async with World(receiver=True, sandbox={"callbacks": CallbackPolicy(lost=1.0)}) as world:
            await world.send()
            world.receiver._inbox._max_pending = 0  # type: ignore[attr-defined]
            await world.advance(90)
            assert world.polls == 1
            assert world.told == []
            world.receiver._inbox._max_pending = 10  # type: ignore[attr-defined]
            await world.advance(120)
            await until(lambda: world.told == [DELIVERED])
            assert len(world.deliveries) == 1

    async def test_intervals_of_repair_grow_to_a_limit(self) -> None:
        async with World(sandbox=NEVER) as world:
            await world.send()
            await world.advance(6 * 3600, step=30)
            # 1, 2, 4, 8, 16 minutes, and then every 15
            assert 25 <= world.polls <= 30

    async def test_large_numbers_go_in_batches(self) -> None:
        async with World(sandbox=AT_ONCE) as world:
            outcomes = 0
            async with world.qlara.bulk(Sms(destination=TO, sender="ACME", body="Ciao") for _ in range(450)) as job:
                async for _ in job:
                    outcomes += 1
            await world.advance(70)
            await until(lambda: len(world.told) == outcomes == 450)
            assert world.polls == 3

    async def test_polls_wait_in_the_bulk_lane(self) -> None:
        async with World() as world:
            await world.send()
            world.qlara.limiter.pause_until(world.clock.monotonic() + 75)
            await world.advance(70)
            waiting = [world.qlara.limiter.waiting_in(lane) for lane in (Priority.INTERACTIVE, Priority.BULK)]
            assert (waiting, world.polls) == ([0, 1], 0)
            await world.advance(10)
            await until(lambda: world.told == [DELIVERED])

    async def test_a_simulation_is_not_tracked(self) -> None:
        async with World() as world:
            await world.send(Sms(destination=TO, sender="ACME", body="Ciao", simulation=True))
            assert world.tracker.unfinished == 0

    async def test_without_callbacks_asked_for_a_wait_polls_soon(self) -> None:
        async with World(receiver=True) as world:
            receipt = await world.send(Sms(destination=TO, sender="ACME", body="Ciao", enable_notification=False))
            task = asyncio.create_task(world.tracker.wait_until(receipt, "delivered", timeout=5))
            assert (await ended(task, world)).status is DELIVERED


class TestMatching:
    async def test_a_callback_that_overtakes_the_answer_to_its_send(self) -> None:
        async with World(receiver=True, sandbox=AT_ONCE) as world:
            world.sandbox.fault(TO, Fault.LATENCY_AFTER, seconds=5.0)
            sending = asyncio.create_task(world.send())
            await until(lambda: world.sandbox.messages)
            await world.advance(1)
            await until(lambda: world.deliveries)
            assert world.told == []
            assert not sending.done()
            await world.advance(5)
            receipt = await sending
            await until(lambda: world.told == [DELIVERED])
            assert world.changes[0].message_id == receipt.message_id

    async def test_by_customer_message_id(self) -> None:
        policy = CallbackPolicy(shape="unified", own_ids=True)
        async with World(receiver=True, sandbox={"callbacks": policy}) as world:
            receipt = await world.send(RCS)
            await world.advance(1)
            await until(lambda: len(world.told) == 2)
            assert world.told == [DELIVERED, READ]
            assert world.deliveries[0].message_id != receipt.message_id

    @pytest.mark.parametrize("read_first", [False, True])
    async def test_by_the_gateways_own_id_once_a_callback_has_named_both(self, read_first: bool) -> None:
        async with World(receiver=True, sandbox=NEVER) as world:
            receipt = await world.send(RCS)
            delivered = {
                "channel": "RCS",
                "eventType": "DELIVERY",
                "messageId": "gateway-1",
                "customerMessageId": receipt.message_id,
                "statusCode": 3,
            }
            read = {"channel": "RCS", "eventType": "READ", "messageId": "gateway-1"}
            for callback in (read, delivered) if read_first else (delivered, read):
                await world.sandbox.post(callback)
                await world.receiver.idle()
            await until(lambda: world.told[-1:] == [READ])
            assert world.told == [DELIVERED, READ]

    async def test_parts_and_channels(self) -> None:
        async with World(receiver=True) as world:
            await world.send(TWO_PARTS)
            await world.advance(1)
            await until(lambda: world.told[-1:] == [DELIVERED])
            assert world.sandbox.callbacks.due == 2
            assert world.told.count(DELIVERED) == 1

    async def test_g10_a_failure_is_not_final_while_a_fallback_may_come(self) -> None:
        message = WhatsApp(
            destination=TO, phone_number_id=1, body="Ciao", fallback_sms=FallbackSms(sender="ACME", text="Ciao")
        )
        async with World(receiver=True) as world:
            world.sandbox.outcome(TO, ERROR)
            receipt = await world.send(message)
            task = asyncio.create_task(world.tracker.wait_until(receipt, "delivered", timeout=600))
            await world.advance(1)
            await until(lambda: world.deliveries)
            await world.receiver.idle()
            assert world.told == []
            known = await world.tracker.status(receipt)
            assert known is not None
            assert known.status is ERROR
            await world.sandbox.post(
                {"channel": "SMS", "eventType": "DELIVERY", "messageId": receipt.message_id, "statusCode": 3}
            )
            status = await ended(task, world)
            assert (status.status, status.channel) == (DELIVERED, Channel.SMS)
            await until(lambda: world.told == [DELIVERED])

    async def test_g10_the_failure_of_the_last_fallback_is_final(self) -> None:
        message = WhatsApp(
            destination=TO, phone_number_id=1, body="Ciao", fallback_sms=FallbackSms(sender="ACME", text="Ciao")
        )
        async with World(receiver=True) as world:
            world.sandbox.outcome(TO, ERROR)
            receipt = await world.send(message)
            await world.advance(1)
            await world.sandbox.post(
                {"channel": "SMS", "eventType": "DELIVERY", "messageId": receipt.message_id, "statusCode": 6}
            )
            await until(lambda: world.told == [ERROR])
            assert world.changes[0].final


class TestHandlers:
    async def test_only_the_statuses_wanted(self) -> None:
        async with World(receiver=True) as world:
            read: list[StatusChange] = []

            @world.tracker.on_status("read")
            async def was_read(change: StatusChange) -> None:
                read.append(change)

            await world.send(RCS)
            await world.advance(1)
            await until(lambda: read)
            assert [change.status for change in read] == [READ]
            assert read[0].previous is DELIVERED

    async def test_one_that_fails_is_retried_alone(self, caplog: pytest.LogCaptureFixture) -> None:
        async with World(receiver=True) as world:
            runs: list[float] = []

            @world.tracker.on_status(name="flaky")
            async def flaky(change: StatusChange) -> None:
                runs.append(world.clock.monotonic())
                if len(runs) < 3:
                    raise RuntimeError(TO)

            await world.send()
            await world.advance(20, step=0.5)
            await world.tracker.idle()
            assert [round(later - earlier) for earlier, later in pairwise(runs)] == [1, 2]
            assert len(world.told) == 1
            assert "flaky" in caplog.text
            assert TO not in caplog.text

    async def test_one_that_never_succeeds_is_given_up(self) -> None:
        async with World(receiver=True) as world:
            runs = 0

            @world.tracker.on_status(name="broken")
            async def broken(change: StatusChange) -> None:
                nonlocal runs
                runs += 1
                raise RuntimeError

            await world.send()
            await world.advance(1200)
            await world.tracker.idle()
            assert runs == 8

    async def test_how_not_to_register(self) -> None:
        async with World() as world:
            with pytest.raises(ConfigurationError, match="with \\(\\)"):
                world.tracker.on_status(print)  # type: ignore[arg-type]
            with pytest.raises(ConfigurationError, match="async"):
                world.tracker.on_status()(print)  # type: ignore[type-var]
            with pytest.raises(ConfigurationError, match="seen"):
                world.tracker.on_status(name="seen")(world._seen)
            with pytest.raises(ConfigurationError, match="DELIVERED"):
                world.tracker.on_status("arrived")

    async def test_g12_closing_cancels_one_that_hangs(self) -> None:
        async with World(receiver=True) as world:
            hanging = asyncio.Event()

            @world.tracker.on_status(name="hangs")
            async def hangs(change: StatusChange) -> None:
                hanging.set()
                await asyncio.Event().wait()

            await world.send()
            await world.advance(1)
            await hanging.wait()
            closing = asyncio.create_task(world.tracker.aclose())
            await world.advance(9)
            assert not closing.done()
            await world.advance(2)
            await closing


class TestReceipts:
    async def test_every_accepted_message_is_told_with_its_receipt(self) -> None:
        async with World() as world:
            seen: list[tuple[Message, Receipt]] = []
            stop = world.qlara.on_receipt(lambda message, receipt: seen.append((message, receipt)))
            receipt = await world.qlara.with_options(priority=Priority.BULK).send(RCS)
            assert seen == [(RCS, receipt)]
            async with world.qlara.bulk([Sms(destination=TO, sender="ACME", body="Ciao")]) as job:
                outcomes = [outcome async for outcome in job]
            assert seen[1:] == [(outcomes[0].message, outcomes[0].receipt)]
            stop()
            stop()
            await world.send()
            assert len(seen) == 2

    async def test_one_that_was_looked_up_is_told_too(self) -> None:
        async with World() as world:
            world.sandbox.fault(TO, Fault.ERROR_AFTER)
            sending = asyncio.create_task(world.send())
            receipt = await ended(sending, world)
            assert receipt.looked_up
            assert world.tracker.unfinished == 1

    async def test_a_listener_that_raises_spoils_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        async with World() as world:

            def refuse(message: Message, receipt: Receipt) -> None:
                raise ValueError(TO)

            world.qlara.on_receipt(refuse)
            await world.send()
            assert "ValueError" in caplog.text
            assert TO not in caplog.text


async def test_finished_messages_are_forgotten() -> None:
    async with World(receiver=True, keep=100.0, max_tracked=3) as world:
        first = await world.send()
        await world.advance(1)
        await until(lambda: world.told)
        await world.advance(50)
        await world.send()
        assert await world.tracker.status(first) is not None
        await world.advance(60)
        await world.send()
        assert await world.tracker.status(first) is None
        async with world.tracker.watch(first) as statuses:
            for _ in range(5):
                await world.send()
            assert len(world.tracker._book) == 3
            assert await world.tracker.status(first) is not None
            assert statuses._record is world.tracker._book.get(first.message_id)


async def test_two_trackers_of_one_receiver_have_names_of_their_own(tmp_path: Path) -> None:
    async with World(receiver=True, inbox=tmp_path / "inbox.db") as world, QlaraClient("other-key") as client:
        names: set[str] = set(world.receiver.names())
        clash = DeliveryTracker(client, clock=world.clock)
        other = DeliveryTracker(client, clock=world.clock, name="other")
        world.receiver.include(other.router)
        world.receiver.check_names()
        assert set(world.receiver.names()) - names == {"other.delivery", "other.read"}
        receipt = await world.send()
        await other.track(receipt)
        await world.advance(1)
        await until(lambda: world.told == [DELIVERED])
        assert (await other.wait_until(receipt, "delivered")).status is DELIVERED
        world.receiver.include(clash.router)
        with pytest.raises(ConfigurationError, match="name="):
            world.receiver.check_names()
        await clash.aclose()
        await other.aclose()


async def test_it_starts_by_itself() -> None:
    async with World(receiver=True) as world:
        await world.tracker.aclose()
        tracker = type(world.tracker)(world.qlara, clock=world.clock)
        receipt = await world.send()
        await until(lambda: tracker.unfinished == 1)
        task = asyncio.create_task(tracker.wait_until(receipt, "delivered", timeout=10))
        assert (await ended(task, world)).status is DELIVERED
        await tracker.aclose()


def _fields(message: Any) -> dict[str, Any]:
    return {name: getattr(message, name) for name in message.__struct_fields__ if name != "message_id"}


def _outcome(change: StatusChange) -> str:
    return "FAILED" if change.status in {ERROR, DeliveryStatus.EXPIRED} else change.status.value
