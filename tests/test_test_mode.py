"""Test mode: dry runs, and a list of those who may receive."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from qlara_async import LegacySms, QlaraClient, Rcs, Sms
from qlara_async.errors import ConfigurationError, DestinationNotAllowedError, JournalMismatchError, NotSentError
from qlara_async.sandbox import Sandbox

from .test_resume import rows

pytestmark = pytest.mark.anyio

MINE = "+393401234567"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as sandbox:
        yield sandbox


def client(sandbox: Sandbox, **options: Any) -> QlaraClient:
    return QlaraClient(sandbox.api_key, base_url=sandbox.url, **options)


def sms(destination: str = MINE) -> Sms:
    return Sms(destination=destination, sender="ACME", body="Ciao")


async def test_faq_test_mode_makes_every_message_a_dry_run(sandbox: Sandbox) -> None:
    async with client(sandbox, simulation=True) as qlara:
        receipts = [await qlara.send(sms()), await qlara.rcs.send(destination=MINE, agent_id=1, body="Ciao")]
        async with qlara.with_options(priority=None).bulk(rows(3)) as job:
            receipts += [outcome.receipt async for outcome in job if outcome.receipt is not None]
    assert [receipt.simulation for receipt in receipts] == [True] * 5
    async with client(sandbox) as qlara:
        assert not (await qlara.send(sms())).simulation


async def test_faq_test_mode_only_named_numbers_receive(sandbox: Sandbox) -> None:
    async with client(sandbox, only_destinations=["0039 340 1234567", "+39000000000*"]) as qlara:
        await qlara.send(sms())
        for stranger in ("+393401234568", "+3934012345678"):
            message = Rcs(destination=stranger, agent_id=1, body="Ciao")
            with pytest.raises(DestinationNotAllowedError) as caught:
                await qlara.send(message)
            assert caught.value.message_id == message.message_id
            assert stranger not in str(caught.value)
        async with qlara.bulk([*rows(2), sms("+393401234568")], ordered=True) as job:
            outcomes = [(outcome.state, outcome.reason) async for outcome in job]
    assert outcomes == [("accepted", None), ("accepted", None), ("skipped", "destination_not_allowed")]
    assert sandbox.requests["send", 200] == sum(sandbox.accepted.values()) == 3


@pytest.mark.parametrize("options", [{"simulation": True}, {"only_destinations": [MINE]}])
async def test_what_a_raw_request_would_do_is_not_known_and_not_done(options: Any, sandbox: Sandbox) -> None:
    stranger = {"destination": "+393401234568", "sender": "ACME", "body": "Ciao"}
    async with client(sandbox, **options) as qlara:
        for view in (qlara, qlara.with_options()):
            for method in ("POST", "post", "PUT", "PATCH"):
                with pytest.raises(NotSentError, match="test mode"):
                    await view.request(method, "/message-server/sms/send", json=stranger)
        assert (
            await qlara.request("get", "/partner-gateway/v1/messages/status", params={"ids": "a", "channel": "SMS"})
        ).json() == []
    assert sum(sandbox.accepted.values()) == 0
    async with client(sandbox) as qlara:
        assert (await qlara.request("POST", "/message-server/sms/send", json=stranger)).status == 200


async def test_texts_to_many_are_dry_runs_and_go_to_named_numbers_only(sandbox: Sandbox) -> None:
    to_both = LegacySms(destinations=[MINE, "+393401234568"], sender="ACME", body="Ciao")
    async with client(sandbox, simulation=True) as qlara:
        receipt = await qlara.sms_legacy.send([to_both])
        assert [one.simulation for one in receipt.accepted.values()] == [True] * 2
    assert not sandbox.messages
    async with client(sandbox, only_destinations=[MINE]) as qlara:
        with pytest.raises(DestinationNotAllowedError):
            await qlara.sms_legacy.send([to_both])
        assert not sandbox.messages  # nor to the one that is named: it is all or nothing
        await qlara.sms_legacy.send([LegacySms(destinations=[MINE], sender="ACME", body="Ciao")])
    assert [message.destination for message in sandbox.messages] == [MINE]


async def test_test_mode_is_loud_once(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    async with client(sandbox) as qlara:
        await qlara.send(sms())
    assert caplog.records == []
    async with client(sandbox, simulation=True, only_destinations=[MINE]) as qlara:
        await qlara.with_options().send(sms())
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("qlara_async.client", logging.WARNING)
    assert "dry run" in record.getMessage()
    assert "only_destinations" in record.getMessage()
    assert MINE not in record.getMessage()


async def test_the_journal_of_a_dry_run_is_not_taken_for_that_of_the_real_job(sandbox: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with client(sandbox, simulation=True) as qlara:
        for resumed in (False, True):
            async with qlara.bulk(rows(2), journal=path) as job:
                assert [(one.state, one.resumed) async for one in job] == [("accepted", resumed)] * 2
    async with client(sandbox) as qlara:
        with pytest.raises(JournalMismatchError):
            async with qlara.bulk(rows(2), journal=path) as job:
                assert [outcome async for outcome in job] == []


@pytest.mark.parametrize("wrong", [MINE, ["340123"], ["3401234567"], ["*"], ["+39x*"], [5]])
async def test_a_list_that_cannot_be_meant_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="only_destinations"):
        QlaraClient("key", only_destinations=wrong)


async def test_simulation_is_true_or_false() -> None:
    with pytest.raises(ConfigurationError, match="simulation"):
        QlaraClient("key", simulation="no")  # type: ignore[arg-type]


async def test_the_environment_may_turn_simulation_on(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QLARA_API_KEY", sandbox.api_key)
    monkeypatch.setenv("QLARA_BASE_URL", sandbox.url)
    monkeypatch.setenv("QLARA_SIMULATION", "1")
    async with QlaraClient.from_env() as qlara:
        assert (await qlara.send(sms())).simulation
    async with QlaraClient.from_env(simulation=False) as qlara:
        assert not (await qlara.send(sms())).simulation
    monkeypatch.setenv("QLARA_SIMULATION", "perhaps")
    with pytest.raises(ConfigurationError, match="QLARA_SIMULATION"):
        QlaraClient.from_env()
