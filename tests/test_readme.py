from __future__ import annotations

import ast
import codeop
import contextlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

import qlara_async
from qlara_async import QlaraClient, RetryPolicy, Timeouts
from qlara_async.loggers import client_logger, sandbox_logger, webhooks_logger
from qlara_async.sandbox import Sandbox

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"# (\w+\.py)\n")
TOUR = [block for block in BLOCKS if not FILE_NAME.match(block)]
FILES = {found[1]: block for block in BLOCKS if (found := FILE_NAME.match(block))}
PROGRAM = FILES.pop("first_message.py")


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


async def test_the_tour_runs_as_printed_and_prints_what_it_says(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    namespace: dict[str, Any] = {"__name__": "tour"}
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    with contextlib.chdir(tmp_path):
        try:
            for block in TOUR:
                await run(block, namespace)
                assert capsys.readouterr().out.splitlines() == printed(block)
        finally:
            await close_what_is_open(namespace)


@pytest.mark.parametrize("block", TOUR, ids=range(len(TOUR)))
def test_blocks_can_be_pasted_at_a_prompt(block: str) -> None:
    compiler = codeop.CommandCompiler()
    compiler.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    typed: list[str] = []
    # As ``python -m asyncio`` reads them: an empty line ends a compound statement.
    for line in [*block.splitlines(), ""]:
        typed.append(line)
        if compiler("\n".join(typed), "README.md") is not None:
            typed = []
    assert typed == []


def test_the_tour_is_worth_the_name() -> None:
    assert len(TOUR) >= 10
    assert sum(len(printed(block)) for block in TOUR) >= 8


def test_the_program_runs_as_printed_and_prints_what_it_says(tmp_path: Path) -> None:
    file = tmp_path / "first_message.py"
    file.write_text(PROGRAM, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(file)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == printed(PROGRAM)[1:]  # the first comment is its name


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


def test_the_commands_are_those_of_the_task_runner_and_on_the_first_screen() -> None:
    lines = [number for number, line in enumerate(README.splitlines()) if line.startswith("python3 tasks.py ")]
    commands = [README.splitlines()[number].split()[2] for number in lines]
    assert commands == ["flight", "test"]
    assert max(lines) < 40
    tasks = (ROOT / "tasks.py").read_text(encoding="utf-8")
    assert all(f'"{command}":' in tasks for command in commands)


def test_the_examples_named_are_there() -> None:
    named = re.findall(r"^python -m examples\.(\w+)", README, re.MULTILINE)
    assert len(named) == 4
    assert all((ROOT / "examples" / f"{name}.py").exists() for name in named)


def test_the_defaults_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| `(Timeouts|RetryPolicy)\.(\w+)` \| (\d+) \|", README, re.MULTILINE)
    defaults = {"Timeouts": Timeouts(), "RetryPolicy": RetryPolicy()}
    assert {(kind, name) for kind, name, _ in rows} == {
        (kind, name) for kind, options in defaults.items() for name in options.__struct_fields__
    }
    assert all(getattr(defaults[kind], name) == int(value) for kind, name, value in rows)


def test_the_loggers_are_those_of_the_code() -> None:
    named = re.findall(r"^\| `(qlara_async\.\w+)` \|", README, re.MULTILINE)
    assert named == [logger.name for logger in (client_logger, webhooks_logger, sandbox_logger)]


def test_the_changelog_has_the_version() -> None:
    assert f"## [{qlara_async.__version__}] - " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
