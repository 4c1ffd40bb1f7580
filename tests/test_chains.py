"""Fallback chains on the client's side, driven by delivery status, on virtual time."""

from __future__ import annotations

import asyncio
import copy
import signal
import sys
import threading
from pathlib import Path
from weakref import WeakSet

import pytest

from qlara_async import (
    ChainResult,
    FallbackChain,
    FallbackChains,
    Priority,
    QlaraClient,
    Rcs,
    Sms,
    WhatsApp,
)
from qlara_async.errors import AuthenticationError, ChainStoreError, ClientStateError, ConfigurationError
from qlara_async.models.whatsapp import WhatsAppTemplateInfo
from qlara_async.sandbox import Fault, Life, Sandbox

from .tracking_world import World, until

pytestmark = pytest.mark.anyio

FIRST, SECOND, THIRD = "+393400000001", "+393400000002", "+393400000003"
ROOT = Path(__file__).resolve().parent.parent
MADE: WeakSet[FallbackChains] = WeakSet()


def three(within: float | list[float] = 120, **options: object) -> FallbackChain:
    legs = [
        WhatsApp(destination=FIRST, phone_number_id=1, body="Ciao"),
        Rcs(destination=SECOND, agent_id=1, body="Ciao"),
        Sms(destination=THIRD, sender="ACME", body="Ciao {nome}", placeholders={"nome": "Anna"}),
    ]
    return FallbackChain(legs, within=within, **options)  # type: ignore[arg-type]


def sent(world: World) -> list[str]:
    return [message.destination for message in world.sandbox.messages]


def states(result: ChainResult) -> list[str]:
    return [leg.state.value for leg in result.legs]


async def pass_time(world: World, seconds: float) -> None:
    """Let time pass, but not while a store's thread is writing."""
    for _ in range(int(seconds)):
        await world.advance(1)
        for _ in range(2):
            for chains in [one for one in MADE if one._open]:
                await chains._store.find("")  # comes after what was written before


def kept_in(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


async def end_of(running: asyncio.Task[ChainResult], world: World) -> ChainResult:
    while not running.done():
        await pass_time(world, 1)
    return await running


class Chained:
    """A world with chains in it, and one chain under way."""

    def __init__(self, world: World, **options: object) -> None:
        self.world = world
        self.chains = FallbackChains(world.qlara, world.tracker, clock=world.clock, **options)  # type: ignore[arg-type]
        MADE.add(self.chains)


async def test_faq_fallback_chains_go_to_the_next_channel_when_one_fails() -> None:
    async with World(sandbox={"life": Life(final=1)}) as world, Chained(world).chains as chains:
        world.sandbox.outcome(FIRST, "ERROR")
        world.sandbox.outcome(SECOND, "EXPIRED")
        running = asyncio.create_task(chains.send(three()))
        result = await end_of(running, world)
    assert (result.winner, result.delivered) == (2, True)
    assert states(result) == ["failed", "failed", "delivered"]
    assert sent(world) == [FIRST, SECOND, THIRD]
    assert world.sandbox.messages[2].json()["placeholders"] == {"nome": "Anna"}
    assert set(world.sandbox.accepted.values()) == {1}


@pytest.mark.parametrize("status", ["DELIVERED", "READ"])
async def test_a_leg_that_arrives_is_the_last(status: str) -> None:
    async with World(receiver=True, sandbox={"life": Life(final=30)}) as world, Chained(world).chains as chains:
        world.sandbox.outcome(FIRST, status)
        running = asyncio.create_task(chains.send(three()))
        result = await end_of(running, world)
        assert states(result) == ["delivered", "waiting", "waiting"]
        assert chains.unfinished == ()
    assert (result.winner, sent(world)) == (0, [FIRST])


@pytest.mark.parametrize("status", ["SENT", "RECEIVED"])
async def test_silence_past_the_deadline_is_followed_by_the_next_leg(status: str) -> None:
    async with World() as world, Chained(world).chains as chains:
        world.sandbox.outcome(FIRST, status)
        began = world.clock.monotonic()
        running = asyncio.create_task(chains.send(three(within=[100, 50, 50], grace=5)))
        await pass_time(world, 100)
        assert sent(world) == [FIRST]
        result = await end_of(running, world)
        assert states(result) == ["silent", "delivered", "waiting"]
    assert 105 <= world.sandbox.messages[1].at - began <= 110


async def test_a_success_within_the_grace_ends_the_chain() -> None:
    """Its callback is lost, and no poll is due: the last look finds it."""
    async with World(sandbox={"life": Life(final=99)}) as world, Chained(world).chains as chains:
        running = asyncio.create_task(chains.send(three(within=100, grace=5)))
        result = await end_of(running, world)
    assert (states(result), sent(world)) == (["delivered", "waiting", "waiting"], [FIRST])


async def test_a_late_success_of_an_earlier_leg_wins_while_a_later_one_is_in_flight() -> None:
    async with World(receiver=True, sandbox={"life": Life(final=130)}) as world, Chained(world).chains as chains:
        running = asyncio.create_task(chains.send(three(within=100, grace=5)))
        result = await end_of(running, world)
    assert sent(world) == [FIRST, SECOND]  # the customer gets both
    assert states(result) == ["delivered", "accepted", "waiting"]
    assert result.winner == 0


async def test_a_leg_that_still_waits_to_be_sent_when_an_earlier_one_is_delivered_is_not_sent() -> None:
    async with World(receiver=True, sandbox={"life": Life(final=130)}) as world, Chained(world).chains as chains:
        running = asyncio.create_task(chains.send(three(within=100, grace=5)))
        await pass_time(world, 102)
        world.qlara.limiter.pause_until(world.clock.monotonic() + 60)  # the gateway asked for it
        await pass_time(world, 20)
        assert world.qlara.limiter.waiting_in(Priority.INTERACTIVE) == 1
        result = await end_of(running, world)
        await pass_time(world, 60)
    assert sent(world) == [FIRST]
    assert (states(result), result.winner) == (["delivered", "waiting", "waiting"], 0)


async def test_a_leg_that_would_be_tried_again_when_an_earlier_one_is_delivered_is_not() -> None:
    async with World(receiver=True, sandbox={"life": Life(final=130)}) as world, Chained(world).chains as chains:
        world.sandbox.fault(SECOND, Fault.STORM, times=5)
        running = asyncio.create_task(chains.send(three(within=100, grace=5)))
        result = await end_of(running, world)
    assert sent(world) == [FIRST]
    assert (states(result), result.winner) == (["delivered", "waiting", "waiting"], 0)
    assert world.sandbox.requests["send", 429] > 1


async def test_a_status_api_that_is_down_does_not_hold_the_next_leg_up() -> None:
    async with World() as world, Chained(world).chains as chains:
        world.sandbox.outcome(FIRST, "SENT")
        began = world.clock.monotonic()
        running = asyncio.create_task(chains.send(three(within=100, grace=5)))
        await pass_time(world, 80)
        world.sandbox.fault(None, Fault.ERROR_BEFORE, route="status", times=12)
        result = await end_of(running, world)
    assert 105 <= world.sandbox.messages[1].at - began <= 110
    assert states(result) == ["silent", "delivered", "waiting"]


async def test_nothing_delivered_has_no_winner() -> None:
    async with World(sandbox={"life": Life(final=1)}) as world, Chained(world).chains as chains:
        world.sandbox.outcome(FIRST, "SENT")
        for destination in (SECOND, THIRD):
            world.sandbox.outcome(destination, "ERROR")
        running = asyncio.create_task(chains.send(three(within=100)))
        await pass_time(world, 190)
        assert not running.done()  # the first may still be delivered, until the last one's deadline
        result = await end_of(running, world)
    assert (result.winner, states(result)) == (None, ["silent", "failed", "failed"])


async def test_a_refusal_is_followed_at_once() -> None:
    async with World() as world, Chained(world).chains as chains:
        world.sandbox.refuse(FIRST, "NO_WHATSAPP")
        world.sandbox.fault(SECOND, Fault.ERROR_BEFORE, status=422)
        running = asyncio.create_task(chains.send(three()))
        result = await end_of(running, world)
    assert states(result) == ["refused", "refused", "delivered"]
    assert [leg.error for leg in result.legs] == ["MessageRejectedError", "UnprocessableError", None]


async def test_a_leg_that_a_check_of_the_client_refuses_is_followed_at_once() -> None:
    async with World() as world, Chained(world).chains as chains:
        world.qlara._templates.see(WhatsAppTemplateInfo(id=7, status="REJECTED"))
        legs: list[WhatsApp | Sms] = [
            WhatsApp(destination=FIRST, phone_number_id=1, template=7),
            Sms(destination=SECOND, sender="ACME", body="Ciao"),
        ]
        result = await end_of(asyncio.create_task(chains.send(FallbackChain(legs, within=120))), world)
    assert (states(result), sent(world)) == (["refused", "delivered"], [SECOND])
    assert result.legs[0].error == "TemplateNotApprovedError"


async def test_g1_an_ambiguous_leg_is_not_followed_before_its_deadline() -> None:
    async with World() as world, Chained(world).chains as chains:
        world.sandbox.fault(FIRST, Fault.DROP_BEFORE)
        world.sandbox.fault(None, Fault.ERROR_BEFORE, route="status", times=30)
        running = asyncio.create_task(chains.send(three(within=100, grace=5)))
        await pass_time(world, 110)
        assert sent(world) == []
        result = await end_of(running, world)
    assert states(result) == ["silent", "delivered", "waiting"]
    assert result.legs[0].error == "DeliveryUnknownError"
    assert world.sandbox.requests["send", 0] == 1  # nothing was repeated


async def test_g1_an_ambiguous_leg_that_was_accepted_is_the_last() -> None:
    async with World(receiver=True, sandbox={"life": Life(final=60)}) as world, Chained(world).chains as chains:
        world.sandbox.fault(FIRST, Fault.DROP_AFTER)
        world.sandbox.fault(None, Fault.ERROR_BEFORE, route="status", times=30)
        running = asyncio.create_task(chains.send(three(within=400, grace=5)))
        result = await end_of(running, world)
    assert (states(result), sent(world)) == (["delivered", "waiting", "waiting"], [FIRST])


async def test_g10_a_leg_with_a_fallback_of_the_gateways_own_has_not_failed_before_that_ended() -> None:
    async with World(sandbox={"life": Life(final=1)}) as world, Chained(world).chains as chains:
        world.sandbox.outcome(FIRST, "ERROR")
        own = WhatsApp(destination=FIRST, phone_number_id=1, body="Ciao", fallback_rcs=True)
        running = asyncio.create_task(
            chains.send(FallbackChain([own, Sms(destination=THIRD, sender="ACME", body="Ciao")], within=100))
        )
        await pass_time(world, 90)
        assert sent(world) == [FIRST]
        assert (await end_of(running, world)).winner == 1


async def test_a_key_refused_stops_the_chain_and_a_restart_goes_on(tmp_path: Path) -> None:
    store = tmp_path / "chains.db"
    async with World() as world:
        key, world.sandbox.api_key = world.sandbox.api_key, "another"
        async with Chained(world, store=store).chains as chains:
            with pytest.raises(AuthenticationError):
                await chains.send(three(chain_id="c"))
        world.sandbox.api_key = key
        async with Chained(world, store=store).chains as chains:
            assert chains.unfinished == ("c",)
            waiting = asyncio.create_task(chains.result("c"))
            assert (await end_of(waiting, world)).winner == 0


async def test_a_restart_honours_the_original_deadlines(tmp_path: Path) -> None:
    store = tmp_path / "chains.db"
    async with World() as world:
        world.sandbox.outcome(FIRST, "SENT")
        began = world.clock.monotonic()
        async with Chained(world, store=store).chains as chains:
            waiting = asyncio.create_task(chains.send(three(within=100, grace=5, chain_id="c")))
            await pass_time(world, 40)
        with pytest.raises(ClientStateError, match="chains were closed"):
            await waiting
        await pass_time(world, 30)
        async with Chained(world, store=store).chains as chains:
            waiting = asyncio.create_task(chains.result("c"))
            result = await end_of(waiting, world)
            assert await chains.send(three(chain_id="c")) == result  # known: not sent again
        assert 105 <= world.sandbox.messages[1].at - began <= 112
        assert (result.winner, sent(world)) == (1, [FIRST, SECOND])
        for line in (FIRST, "Anna"):  # what ended keeps no numbers and no texts
            async with Chained(world, store=store).chains as chains:
                assert line not in repr(await chains.result("c"))


@pytest.mark.parametrize("stored", [False, True])
async def test_g1_a_chain_that_an_error_stopped_goes_on_where_it_stopped(stored: bool, tmp_path: Path) -> None:
    async with World() as world:
        world.sandbox.outcome(FIRST, "SENT")
        async with Chained(world, store=tmp_path / "chains.db" if stored else None).chains as chains:
            chain = three(within=100, chain_id="c")
            running = asyncio.create_task(chains.send(chain))
            await pass_time(world, 50)
            key, world.sandbox.api_key = world.sandbox.api_key, "another"
            with pytest.raises(AuthenticationError):
                await end_of(running, world)
            with pytest.raises(AuthenticationError):  # not what was known of it when it stopped
                await chains.result("c")
            world.sandbox.api_key = key
            again = asyncio.create_task(chains.send(chain))
            result = await end_of(again, world)
            assert result.winner == 1
            assert await chains.send(chain) == await chains.result("c") == result
    assert sent(world) == [FIRST, SECOND]


async def test_a_leg_that_is_told_of_while_the_next_is_being_stored_is_the_last(tmp_path: Path) -> None:
    async with (
        World(receiver=True, sandbox={"life": Life(final=106)}) as world,
        Chained(world, store=tmp_path / "chains.db").chains as chains,
    ):
        running = asyncio.create_task(chains.send(three(within=100, grace=5)))
        await pass_time(world, 104)
        slow, store = threading.Event(), chains._store
        disk = asyncio.create_task(store._file.read(lambda db: slow.wait()))
        await world.advance(4)  # the deadline passes, and the first leg is delivered
        await until(lambda: world.deliveries)
        for _ in range(20):
            await asyncio.sleep(0)
        slow.set()
        await disk
        result = await end_of(running, world)
    assert (states(result), sent(world)) == (["delivered", "waiting", "waiting"], [FIRST])


@pytest.mark.usefixtures("no_task_left")
async def test_g12_leaving_waits_for_what_is_being_written(tmp_path: Path) -> None:
    async with World() as world:
        slow = threading.Event()
        async with Chained(world, store=tmp_path / "chains.db").chains as chains:
            disk = asyncio.create_task(chains._store._file.read(lambda db: slow.wait()))
            sending = asyncio.create_task(chains.send(three(chain_id="c")))
            for _ in range(10):
                await asyncio.sleep(0)
            sending.cancel()
            asyncio.get_running_loop().call_soon(slow.set)
        assert await disk
        async with Chained(world, store=tmp_path / "chains.db").chains as chains:
            with pytest.raises(ConfigurationError, match="no such chain"):
                await chains.result("c")
    assert sent(world) == []


async def test_a_tracker_that_is_closed_stops_the_chain() -> None:
    async with World() as world, Chained(world).chains as chains:
        world.sandbox.outcome(FIRST, "SENT")
        running = asyncio.create_task(chains.send(three()))
        await pass_time(world, 5)
        await world.tracker.aclose()
        with pytest.raises(ClientStateError):
            await end_of(running, world)
        assert sent(world) == [FIRST]


async def test_cancelling_the_wait_does_not_stop_the_chain() -> None:
    async with World(sandbox={"life": Life(final=20)}) as world, Chained(world).chains as chains:
        chain = three()
        waiting = asyncio.create_task(chains.send(chain))
        await until(lambda: sent(world))
        waiting.cancel()
        again = asyncio.create_task(chains.result(chain.chain_id))
        assert (await end_of(again, world)).winner == 0


@pytest.mark.usefixtures("no_task_left")
async def test_g12_leaving_stops_everything() -> None:
    async with World() as world:
        async with Chained(world).chains as chains:
            world.sandbox.outcome(FIRST, "SENT")
            waiting = asyncio.create_task(chains.send(three()))
            await until(lambda: sent(world))
        with pytest.raises(ClientStateError, match="chains were closed"):
            await waiting
        with pytest.raises(ClientStateError):
            await chains.send(three())


async def test_a_store_is_for_one_process_and_nothing_else(tmp_path: Path) -> None:
    async with World() as world:
        async with Chained(world, store=tmp_path / "chains.db").chains as chains:
            with pytest.raises(ChainStoreError, match="in use"):
                await Chained(world, store=tmp_path / "chains.db").chains.__aenter__()
            with pytest.raises(ConfigurationError, match="no such chain"):
                await chains.result("x")
            with pytest.raises(ConfigurationError, match="not Sms"):
                await chains.send(Sms(destination=FIRST, sender="ACME", body="Ciao"))  # type: ignore[arg-type]
        (tmp_path / "other").write_bytes(b"no database at all" * 100)
        with pytest.raises(ChainStoreError, match="other cannot be used: it is not a database"):
            await Chained(world, store=tmp_path / "other").chains.__aenter__()


def test_what_cannot_be_a_chain_is_refused() -> None:
    sms = Sms(destination=FIRST, sender="ACME", body="Ciao")
    other = Sms(destination=FIRST, sender="ACME", body="Ciao")
    dry = Sms(destination=FIRST, sender="ACME", body="Ciao", simulation=True)
    for messages, options in (
        ([sms], {"within": 1}),
        ([sms, sms], {"within": 1}),
        ([sms, dry], {"within": 1}),
        ([sms, "x"], {"within": 1}),
        ([sms, other], {"within": 0}),
        ([sms, other], {"within": float("nan")}),
        ([sms, other], {"within": [1]}),
        ([sms, other], {"within": 1, "grace": -1}),
    ):
        with pytest.raises(ConfigurationError):
            FallbackChain(messages, **options)  # type: ignore[arg-type]
    chain = FallbackChain([sms, other], within=[1, 2], chain_id="c")
    assert repr(chain) == "FallbackChain(SMS → SMS, chain_id='c')"


@pytest.mark.parametrize("moment", ["a leg is under way", "between legs"])
async def test_a_process_killed_goes_on_from_its_store(moment: str, tmp_path: Path) -> None:
    async with Sandbox(rate_limit=None) as sandbox:
        sandbox.outcome(FIRST, "SENT")

        async def start() -> asyncio.subprocess.Process:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.chain_program",
                sandbox.url,
                str(tmp_path / "chains.db"),
                stdout=asyncio.subprocess.PIPE,
                cwd=ROOT,
            )

        if moment == "a leg is under way":
            sandbox.fault(FIRST, Fault.HANG_AFTER)
        process = await start()
        await until(lambda: sandbox.accepted)
        if moment == "between legs":  # its acceptance is stored, and the deadline runs
            await until(lambda: sandbox.requests["status", 200])
        process.send_signal(signal.SIGKILL)
        await process.communicate()
        assert process.returncode == -signal.SIGKILL
        process = await start()
        output, _ = await process.communicate()
        assert output.decode().split() == ["1", "silent", "delivered"]
        assert dict(sandbox.accepted) == {"leg-0": 1, "leg-1": 1}


async def test_gdpr_a_chain_to_a_number_ends_where_it_stands_and_no_byte_is_left(tmp_path: Path) -> None:
    store = tmp_path / "chains.db"
    async with World() as world:
        world.sandbox.outcome(FIRST, "SENT")
        async with Chained(world, store=store).chains as chains:
            running = asyncio.create_task(chains.send(three(within=100, chain_id="c")))
            await pass_time(world, 20)
            assert THIRD[1:].encode() in kept_in(tmp_path)
            erased = await chains.erase("0039 340 0000003")  # a leg that is not due yet
            assert (erased.removed, erased.scrubbed) == ({"entries": 1}, True)
            result = await running
            assert (states(result), result.winner) == (["accepted", "waiting", "waiting"], None)
            assert chains.unfinished == ()
            await pass_time(world, 200)
            assert await chains.send(three(chain_id="c")) == result  # known: not sent again
            assert (await chains.erase(THIRD)).total == 0
    assert sent(world) == [FIRST]
    assert not [number for number in (FIRST, SECOND, THIRD) if number[1:].encode() in kept_in(tmp_path)]


async def test_gdpr_a_chain_in_the_store_is_ended_without_going_on(tmp_path: Path) -> None:
    store = tmp_path / "chains.db"
    call, named = Sms(destination=THIRD, sender="ACME", body=f"Call {FIRST}"), f"reminder-{SECOND}"
    async with World() as world:
        for destination in (FIRST, THIRD):
            world.sandbox.outcome(destination, "SENT")
        async with Chained(world, store=store).chains as chains:
            under_way = [
                asyncio.create_task(chains.send(chain))
                for chain in (three(chain_id="c"), FallbackChain([call, copy.copy(call)], within=90, chain_id="other"))
            ]
            ended = FallbackChain(
                [Sms(destination=SECOND, sender="ACME", body="Ciao") for _ in "ab"], within=90, chain_id=named
            )
            await end_of(asyncio.create_task(chains.send(ended)), world)
        await asyncio.gather(*under_way, return_exceptions=True)
        before = sent(world)
        chains = Chained(world, store=store).chains
        erased = await chains.erase(FIRST)
        assert (erased.total, erased.scrubbed) == (1, False)
        assert "to somebody else" in erased.note
        assert (await chains.erase(SECOND)).total == 1  # it was in an id
        async with chains:
            assert chains.unfinished == ("other",)
            assert (await chains.result("c")).winner is None
            with pytest.raises(ConfigurationError, match="no such chain"):
                await chains.result(named)
    assert sent(world) == before


async def test_faq_how_does_rcs_fallback_work() -> None:
    """``fallback_rcs=True`` is sent as the FAQ shows it: ``"fallbackRcs": true``."""
    async with Sandbox() as sandbox, QlaraClient(sandbox.api_key, base_url=sandbox.url) as qlara:
        await qlara.whatsapp.send(
            destination="+393401234567", phone_number_id=1, body="Your message", fallback_rcs=True
        )
        asked = sandbox.messages[0].json()
    assert asked["fallbackRcs"] is True
    assert (asked["destination"], asked["body"]) == ("+393401234567", "Your message")


def test_exactly_one_leg_is_the_winner() -> None:
    progress = three().begin()
    progress.delivered(progress.legs[1])
    progress.delivered(progress.legs[0])
    assert (progress.winner, progress.result().winner) == (1, 1)
    assert states(progress.result()) == ["delivered", "delivered", "waiting"]
    first = progress.legs[0].message_id
    assert repr(progress.result().legs[0]) == f"LegResult(WHATSAPP, delivered, message_id={first!r})"
