#!/usr/bin/env python3
"""The project's tasks, for a machine with nothing but Python 3.11 or newer.

  python3 tasks.py flight [--production-limits] [--csv FILE]   the main job, against the sandbox
  python3 tasks.py test [PYTEST ARGUMENTS]                     lint, types and all tests
  python3 tasks.py bench [BENCHMARK ...]                       the benchmarks, or those named

Each sets up a virtual environment of its own in .venv-<version> at first use, which needs the network once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / f".venv-{sys.version_info.major}.{sys.version_info.minor}"
PYTHON = VENV / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
BENCHMARKS = ("limiter", "send", "journal", "journalled", "batched", "receiver", "inbox", "memory", "imports")


def run(*command: str | Path) -> None:
    """Run a command in the repository; its failure is ours."""
    subprocess.run(command, cwd=ROOT, check=True)


def run_quietly(*command: str | Path, otherwise: str) -> None:
    """Run a step of the set-up; if it fails, end with its last words and what to do."""
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        said = [line.strip() for line in done.stdout.decode(errors="replace").splitlines() if line.strip()]
        errors = [line for line in said if line.split()[0].endswith(("ERROR:", "Error:"))] or said or ["nothing"]
        sys.exit(f"{otherwise} (it said: {errors[-1]})")


def set_up(extra: str) -> None:
    """Make the virtual environment and install the package into it, once for each extra and pyproject.toml."""
    done = VENV / f"installed-{extra}"
    project = ROOT / "pyproject.toml"
    if PYTHON.exists() and done.exists() and done.read_bytes() == project.read_bytes():
        return
    print(f"Setting up {VENV.name}: this needs the network, once ...", flush=True)
    if not (PYTHON.exists() and any(VENV.glob("installed-*"))):  # none there, or one that was interrupted
        no_venv = "This Python cannot make virtual environments. On Debian or Ubuntu: apt-get install python3-venv"
        run_quietly(sys.executable, "-m", "venv", "--clear", VENV, otherwise=no_venv)
    pip_install = (PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "2")
    no_network = "Setting up failed: it needs the network, once"
    run_quietly(*pip_install, "--editable", f".[{extra}]", otherwise=no_network)
    shutil.copyfile(project, done)


def flight(arguments: Sequence[str]) -> None:
    """From a file of messages to dispatched callbacks, against the sandbox."""
    set_up("cli")
    # In the caller's directory, so that paths mean what the caller means; -P: nothing is imported from there.
    command = [str(PYTHON), "-P", "-m", "examples.flight", *arguments]
    subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)


def test(arguments: Sequence[str]) -> None:
    """Lint, types, tests."""
    set_up("dev")
    run(PYTHON, "-m", "ruff", "check", ".")
    run(PYTHON, "-m", "ruff", "format", "--check", ".")
    run(PYTHON, "-m", "mypy")
    run(PYTHON, "-m", "pytest", "-n", "auto", "--maxprocesses", "4", *arguments)


def bench(arguments: Sequence[str]) -> None:
    """The benchmarks, or those named."""
    for name in arguments:
        if name not in BENCHMARKS:
            refuse("benchmark", name, BENCHMARKS)
    set_up("dev")
    for name in arguments or BENCHMARKS:
        run(PYTHON, "-m", f"benchmarks.{name}")


def refuse(what: str, name: str, known: Sequence[str]) -> None:
    """End with the names there are."""
    print(f"unknown {what} {name!r}; {what}s are {', '.join(known)}", file=sys.stderr)
    sys.exit(2)


TASKS: dict[str, Callable[[Sequence[str]], None]] = {"flight": flight, "test": test, "bench": bench}


def main() -> None:
    """Run the task named on the command line."""
    if sys.version_info < (3, 11):
        sys.exit("qlara_async needs Python 3.11 or newer; this is " + sys.version.split()[0])
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in {"-h", "--help", "help"}:
        print(__doc__)
        return
    if name not in TASKS:
        refuse("task", name, list(TASKS))
    try:
        TASKS[name](arguments)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
