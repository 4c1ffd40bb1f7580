"""Importing the package brings what every program needs, and nothing else (its budget is `benchmarks.imports`')."""

from __future__ import annotations

import subprocess
import sys

import qlara_async

UNASKED = (
    "sqlite3",
    "anyio",
    "aiohttp.web",
    "qlara_async.bulk",
    "qlara_async.chains",
    "qlara_async.consent",
    "qlara_async.conversations",
    "qlara_async.resources.api",
    "qlara_async.protocol.operations",
    "qlara_async.sandbox",
    "qlara_async.sending.batches",
    "qlara_async.tracking",
    "qlara_async.transfers",
    "qlara_async.webhooks",
)


def loaded_after(code: str) -> set[str]:
    program = f"import sys\n{code}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_a_client_that_only_sends_imports_nothing_of_the_rest() -> None:
    client = "import qlara_async\nqlara_async.QlaraClient('key')\nqlara_async.Sms"
    assert not loaded_after(client) & set(UNASKED)
    assert loaded_after(client + "\nqlara_async.BulkJob") & set(UNASKED) == {"qlara_async.bulk"}


def test_every_public_name_is_there_and_listed() -> None:
    assert qlara_async.__all__ == sorted(qlara_async.__all__)
    assert all(hasattr(qlara_async, name) for name in qlara_async.__all__)
    assert set(qlara_async._LAZY) < set(qlara_async.__all__)
