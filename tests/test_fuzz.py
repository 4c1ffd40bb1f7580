"""G8: a thousand hostile requests over raw sockets; a hundred thousand are sent by ``python -m tests.soak fuzz``."""

from __future__ import annotations

import pytest

from .fuzz import Attack

pytestmark = pytest.mark.anyio


async def test_g8_no_request_causes_a_5xx_a_traceback_or_a_leak_and_genuine_events_are_acknowledged() -> None:
    async with Attack(seed=1) as attack:
        await attack.send(400)
        await attack.send(600)
    tally = attack.tally
    assert tally.offences == []
    assert tally.sent == 1000
    assert len(tally.acknowledged) == 20
    assert {"200", "400", "404", "405", "408", "413", "415"} <= set(tally.statuses)
    assert tally.memory[1] - tally.memory[0] < 32 * 1024  # KiB: at first buffers and arenas still grow
