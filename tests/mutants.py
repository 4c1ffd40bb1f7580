"""Mutation run of the verifier: each small change to its code must turn a test red.

    python -m tests.mutants [--jobs 2] [MODULE ...]

Every mutant lives in a copy of the package, in a directory of its own that comes first on the path; the working tree is
not touched. The exit status is 1 if a mutant survives that is not named in ``EQUIVALENT``.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import aiohttp.web  # noqa: F401 - once, before the forks
import pytest
from hypothesis import Phase, settings

ROOT = Path(__file__).resolve().parent.parent
TESTS = ("tests/test_auth_rules.py", "tests/test_auth.py")
MODULES = (
    "qlara_async/protocol/credentials.py",
    "qlara_async/protocol/signatures.py",
    "qlara_async/protocol/addresses.py",
    "qlara_async/webhooks/auth/tokens.py",
    "qlara_async/webhooks/auth/signatures.py",
    "qlara_async/webhooks/auth/basic.py",
    "qlara_async/webhooks/auth/addresses.py",
    "qlara_async/webhooks/auth/check.py",
    "qlara_async/webhooks/auth/keys.py",
    "qlara_async/webhooks/auth/doorkeeper.py",
)
_AUTH = "qlara_async/webhooks/auth"
EQUIVALENT = {
    f"{_AUTH}/signatures.py: HmacSignature.sign: self._timestamp_header is not None and signed is not None -> "
    "self._timestamp_header is not None or signed is not None": "both are there or neither: it is checked before",
    f"{_AUTH}/signatures.py: HmacSignature._values: None if self._timestamp_header is None else "
    "head.joined(self._timestamp_header) -> None if False else head.joined(self._timestamp_header)": (
        "no header is named None, so there is none of that name either"
    ),
    f"{_AUTH}/keys.py: Keys.last_seen: True -> False": "strict= of two sequences that are made with one length",
    f"{_AUTH}/doorkeeper.py: Doorkeeper.judge_body: if not self._body_checks: return None -> if False: return None": (
        "a short cut: no check refuses where there is none"
    ),
    f"{_AUTH}/doorkeeper.py: Doorkeeper.__init__: 2 -> 3": "a rank after 0 and 1, whichever",
}
"""Mutants that change nothing, and why."""

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_SWAPS: dict[type[ast.AST], Any] = {
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
}


@dataclass(frozen=True)
class Mutant:
    """A changed module."""

    path: str
    what: str
    source: str


def mutants_of(path: str) -> Iterator[Mutant]:
    """Make every mutant of a module: comparisons, operators, constants, conditions and statements, one at a time."""
    tree = ast.parse((ROOT / path).read_text())
    count = len(list(ast.walk(tree)))
    for place in range(count):
        for variant in range(3):
            changed = copy.deepcopy(tree)
            node = list(ast.walk(changed))[place]
            before = ast.unparse(node) if isinstance(node, ast.expr | ast.stmt) else ""
            if not _mutate(changed, node, variant):
                break
            after = ast.unparse(node) if isinstance(node, ast.expr | ast.stmt) else ""
            what = f"{_where(tree, place)}: {_line(before)} -> {_line(after) if after != before else 'removed'}"
            yield Mutant(path, what, ast.unparse(changed))


def _mutate(tree: ast.Module, node: ast.AST, variant: int) -> bool:
    """Change a node in place in the n-th of its ways; ``False`` if there is no such way."""
    if isinstance(node, ast.If | ast.IfExp) and variant < 2:
        node.test = ast.Constant(bool(variant))
        return True
    if variant:
        return False
    if isinstance(node, ast.Compare):
        node.ops[0] = _COMPARISONS[type(node.ops[0])]()
    elif isinstance(node, ast.BoolOp | ast.BinOp) and type(node.op) in _SWAPS:
        node.op = _SWAPS[type(node.op)]()
    elif isinstance(node, ast.UnaryOp):
        node.operand = ast.UnaryOp(node.op, node.operand)
    elif isinstance(node, ast.Constant):
        return _mutate_constant(tree, node)
    elif isinstance(node, ast.Return) and ast.unparse(node) not in {"return", "return None"}:
        node.value = ast.Constant(None)
    elif isinstance(node, ast.Expr | ast.Assign | ast.AugAssign):
        return _remove(tree, node)
    else:
        return False
    return True


def _mutate_constant(tree: ast.Module, node: ast.Constant) -> bool:
    value = node.value
    if _is_text(tree, node) or value in ("", b"", None, ...):
        return False
    if isinstance(value, bool):
        node.value = not value
    elif isinstance(value, int | float):
        node.value = value + 1
    else:
        node.value = value + "X" if isinstance(value, str) else value + b"X"  # type: ignore[operator]
    return True


def _is_text(tree: ast.Module, node: ast.Constant) -> bool:
    """Tell whether a constant is words for people, the name of a public thing, or part of a type."""
    return any(_holds_text(parent) and any(child is node for child in ast.walk(parent)) for parent in ast.walk(tree))


def _holds_text(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)  # a docstring
    if isinstance(node, ast.AnnAssign):
        return ast.unparse(node.annotation) == "TypeAlias"
    if isinstance(node, ast.Assign):
        return ast.unparse(node.targets[0]) == "__all__"
    return isinstance(node, ast.Raise | ast.JoinedStr) or (
        isinstance(node, ast.FunctionDef) and node.name == "__repr__"
    )


def _remove(tree: ast.Module, node: ast.stmt) -> bool:
    """Remove a statement of a function; what stands in a module or class is not behaviour of its own."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return False
    for parent in ast.walk(tree):
        if isinstance(parent, ast.Module | ast.ClassDef):
            continue
        for block in ("body", "orelse", "handlers"):
            statements = getattr(parent, block, None)
            if isinstance(statements, list) and any(statement is node for statement in statements):
                statements[[statement is node for statement in statements].index(True)] = ast.Pass()
                return True
    return False


def _where(tree: ast.Module, place: int) -> str:
    node = list(ast.walk(tree))[place]
    names = [
        outer.name
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.ClassDef) and any(inner is node for inner in ast.walk(outer))
    ]
    return ".".join(names) or "module"


def _line(code: str) -> str:
    return " ".join(code.split())[:100]


def survives(mutant: Mutant) -> bool:
    """Run the tests against a mutant, in this worker's own copy of the package."""
    copied = Path(tempfile.gettempdir()) / f"mutants-{os.getpid()}"
    if not copied.exists():
        for folder in ("qlara_async", "tests"):
            shutil.copytree(ROOT / folder, copied / folder)
        shutil.copy(ROOT / "pyproject.toml", copied)
    target = copied / mutant.path
    original = target.read_text()
    _write(target, mutant.source)
    child = os.fork()  # pytest, Hypothesis and aiohttp are imported already; the package is not
    if not child:
        os._exit(_run_tests(copied))
    _, status = os.waitpid(child, 0)
    _write(target, original)
    return os.waitstatus_to_exitcode(status) == 0


_TICKS = count(1)


def _write(target: Path, source: str) -> None:
    """Write a module with a time of its own: mutants of one size within a second would share their bytecode."""
    target.write_text(source)
    tick = next(_TICKS)
    os.utime(target, (tick, tick))


def _run_tests(where: Path) -> int:
    for name in [name for name in sys.modules if name.partition(".")[0] in {"tests", "qlara_async"}]:
        del sys.modules[name]
    os.chdir(where)
    sys.path.insert(0, str(where))
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    # No shrinking: that a test fails is enough.
    phases = (Phase.explicit, Phase.generate)
    settings.register_profile("mutants", max_examples=20, phases=phases, database=None, derandomize=True, deadline=None)
    # That Hypothesis was imported before pytest came to rewrite its assertions is meant.
    options = ["-W", "ignore::pytest.PytestAssertRewriteWarning", "-p", "no:cacheprovider", "--timeout=30"]
    options += ["--hypothesis-profile=mutants"]
    return int(pytest.main(["-x", "-q", *options, *TESTS]))


def main() -> int:
    """Make the mutants, run them, and say what survived."""
    parser = argparse.ArgumentParser(description="Mutation run of the verifier of callbacks.")
    parser.add_argument("modules", nargs="*", default=MODULES, metavar="MODULE")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    mutants = [mutant for path in options.modules for mutant in mutants_of(path)]
    unchanged = [Mutant(path, "unchanged", (ROOT / path).read_text()) for path in options.modules[:1]]
    if not all(map(survives, unchanged)):
        print("the tests fail without any change")
        return 1
    survivors = unexpected = 0
    with get_context("fork").Pool(options.jobs) as pool:
        for mutant, alive in zip(mutants, pool.imap(survives, mutants), strict=True):
            name = f"{mutant.path}: {mutant.what}"
            survivors += alive
            if alive and name not in EQUIVALENT:
                unexpected += 1
                print("SURVIVED", name, flush=True)
    print(f"{len(mutants)} mutants, {len(mutants) - survivors} killed, {survivors - unexpected} equivalent")
    return 1 if unexpected else 0


if __name__ == "__main__":
    sys.exit(main())
