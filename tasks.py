#!/usr/bin/env python3
"""The project's tasks, for a machine with nothing but Python 3.11 or newer.

::

    python3 tasks.py flight [--production-limits]   set up, then the main job against the sandbox
    python3 tasks.py test [pytest arguments]        set up, then lint, types and all tests
    python3 tasks.py bench                          set up, then the benchmarks

Each sets up a virtual environment of its own in ``.venv-<version>`` at first use.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / f".venv-{sys.version_info.major}.{sys.version_info.minor}"
PYTHON = VENV / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
BENCHMARKS = ("limiter", "send", "bulk", "receiver", "memory", "imports")


def run(*command: str | Path) -> None:
    """Run a command in the repository; its failure is ours."""
    subprocess.run([str(part) for part in command], cwd=ROOT, check=True)


def set_up(extra: str) -> None:
    """Make the virtual environment and install the package into it, once for each extra and pyproject.toml."""
    done = VENV / f"installed-{extra}"
    project = ROOT / "pyproject.toml"
    if done.exists() and done.read_bytes() == project.read_bytes():
        return
    print(f"Setting up {VENV.name} (once) …", flush=True)
    make_environment()
    run(PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--editable", f".[{extra}]")
    shutil.copyfile(project, done)


def make_environment() -> None:
    """Make an empty virtual environment, or say what this Python lacks."""
    if PYTHON.exists():
        return
    try:
        run(sys.executable, "-m", "venv", VENV)
    except subprocess.CalledProcessError:
        shutil.rmtree(VENV, ignore_errors=True)
        sys.exit("This Python cannot make virtual environments. On Debian or Ubuntu: apt-get install python3-venv")


def flight(arguments: Sequence[str]) -> None:
    """From a file of messages to dispatched callbacks, against the sandbox."""
    set_up("cli")
    run(PYTHON, "-m", "examples.flight", *arguments)


def test(arguments: Sequence[str]) -> None:
    """Lint, types, tests."""
    set_up("dev")
    run(PYTHON, "-m", "ruff", "check", ".")
    run(PYTHON, "-m", "ruff", "format", "--check", ".")
    run(PYTHON, "-m", "mypy")
    run(PYTHON, "-X", "dev", "-m", "pytest", *arguments)


def bench(arguments: Sequence[str]) -> None:
    """The benchmarks, or those named."""
    set_up("dev")
    for name in arguments or BENCHMARKS:
        run(PYTHON, "-m", f"benchmarks.{name}")


TASKS: dict[str, Callable[[Sequence[str]], None]] = {"flight": flight, "test": test, "bench": bench}


def main() -> None:
    """Run the task named on the command line."""
    if sys.version_info < (3, 11):
        sys.exit("qlara_async needs Python 3.11 or newer; this is " + sys.version.split()[0])
    name, *arguments = sys.argv[1:] or [""]
    if name not in TASKS:
        sys.exit(__doc__)
    try:
        TASKS[name](arguments)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
