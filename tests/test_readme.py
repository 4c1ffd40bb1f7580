from __future__ import annotations

import ast
import contextlib
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

import qlara_async
from qlara_async import QlaraClient
from qlara_async.sandbox import Sandbox

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"# (\w+\.py)\n")
TOUR = [block for block in BLOCKS if not FILE_NAME.match(block)]
FILES = {found[1]: block for block in BLOCKS if (found := FILE_NAME.match(block))}


def printed(block: str) -> list[str]:
    """What a block says it prints: in a comment after a `print`, or on comment lines of their own."""
    return re.findall(r"^(?: *print\(.*\)  )?# (.+)$", block, re.MULTILINE)


async def run(block: str, namespace: dict[str, Any]) -> None:
    running = eval(compile(block, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), namespace)
    if inspect.isawaitable(running):
        await running


async def close_what_is_open(namespace: dict[str, Any]) -> None:
    """After a failure half-way; closing twice has no effect."""
    for value in list(namespace.values()):
        if isinstance(value, QlaraClient | Sandbox):
            await value.aclose()
        elif isinstance(value, web.AppRunner):
            await value.cleanup()


async def test_the_tour_runs_as_printed_and_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    namespace: dict[str, Any] = {"__name__": "tour"}
    with contextlib.chdir(ROOT):
        try:
            for block in TOUR:
                await run(block, namespace)
                assert capsys.readouterr().out.splitlines() == printed(block)
        finally:
            await close_what_is_open(namespace)


def test_the_tour_is_worth_the_name() -> None:
    assert len(TOUR) >= 10
    assert sum(len(printed(block)) for block in TOUR) >= 8


def test_the_test_files_run_under_pytest_as_printed(tmp_path: Path) -> None:
    assert set(FILES) == {"conftest.py", "test_delivery.py"}
    for name, block in FILES.items():
        (tmp_path / name).write_text(block, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_links_lead_somewhere() -> None:
    headings = {re.sub(r"[^\w -]", "", line).strip().lower().replace(" ", "-") for line in README.splitlines() if line}
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if target.startswith("#"):
            assert target[1:] in headings
        else:
            assert (ROOT / target).exists()


def test_the_commands_are_those_of_the_task_runner() -> None:
    tasks = (ROOT / "tasks.py").read_text(encoding="utf-8")
    commands = re.findall(r"python3 tasks\.py (\w+)", README)
    assert commands == ["flight", "test"]
    assert all(f'"{command}":' in tasks for command in commands)


def test_the_changelog_has_the_version() -> None:
    assert f"## [{qlara_async.__version__}] - " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
