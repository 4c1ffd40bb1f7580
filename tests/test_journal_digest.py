"""What a row means, as the journal keeps it."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlara_async import Rcs, Sms
from qlara_async.bulk.journal.digest import Digests

SALT = bytes(range(32))
DIGESTS = Digests(SALT)
NUMBER = "+393401234567"


def sms(**changes: Any) -> Sms:
    return Sms(**({"destination": NUMBER, "sender": "ACME", "body": "Ciao"} | changes))


def test_a_digest_says_what_a_message_says() -> None:
    digest = DIGESTS.digest(sms())
    assert DIGESTS.digest(sms()) == digest
    others = [
        sms(body="Ciao!"),
        sms(sender="B"),
        sms(message_id="mine"),
        sms(message_id="other"),
        sms(simulation=True),
        sms(scheduled_date=datetime(2030, 1, 1, tzinfo=UTC)),
        Rcs(destination=NUMBER, agent_id=1, body="Ciao"),
        {"destination": NUMBER, "sender": "ACME", "body": "Ciao"},
    ]
    assert len({digest, *map(DIGESTS.digest, others)}) == 1 + len(others)


def test_another_journal_has_other_digests_and_other_ids() -> None:
    other = Digests(SALT[::-1])
    assert other.digest(sms()) != DIGESTS.digest(sms())
    assert other.digest({}) != DIGESTS.digest({})
    assert other.mint(0) != DIGESTS.mint(0)
    assert other.minted_for(DIGESTS.mint(0)) is None


def test_placeholders_count_but_not_their_order() -> None:
    one = sms(body="{a}{b}", placeholders={"a": "1", "b": "2"})
    two = sms(body="{a}{b}", placeholders={"b": "2", "a": "1"})
    three = sms(body="{a}{b}", placeholders={"a": "2", "b": "1"})
    assert DIGESTS.digest(one) == DIGESTS.digest(two) != DIGESTS.digest(three)


def test_an_id_minted_by_the_journal_is_no_content_but_a_callers_is() -> None:
    message = sms(message_id=DIGESTS.mint(7))
    assert DIGESTS.digest(message) == DIGESTS.digest(sms())
    assert message.message_id == DIGESTS.mint(7)
    assert DIGESTS.digest(sms(message_id=Digests(b"x" * 32).mint(7))) != DIGESTS.digest(sms())


@given(st.integers(0, 2**50))
def test_a_minted_id_is_known_again_and_no_other(index: int) -> None:
    minted = DIGESTS.mint(index)
    assert DIGESTS.mint(index) == minted
    assert DIGESTS.minted_for(minted) == index
    assert sms(message_id=minted).message_id == minted  # fit for a status query
    changed = minted[:-1] + ("0" if minted[-1] != "0" else "1")
    assert DIGESTS.minted_for(changed) is None
    assert DIGESTS.minted_for(minted.upper() + "g") is None
    assert DIGESTS.minted_for(f"{index + 1:08x}{minted[-24:]}") is None
    assert DIGESTS.minted_for("0" + minted) is None


cells = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary() | st.decimals()
rows = st.recursive(cells, lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.none(), inner), max_leaves=8)


@given(rows, rows)
def test_rows_have_the_same_digest_if_and_only_if_they_look_the_same(one: object, two: object) -> None:
    assert (DIGESTS.digest(one) == DIGESTS.digest(two)) == (look(one) == look(two))


def look(value: object) -> object:
    if isinstance(value, dict):
        return frozenset((key, look(inner)) for key, inner in value.items())
    if isinstance(value, list):
        return tuple(map(look, value))
    return type(value), repr(value)


class Opaque:
    """Its `repr` has its address."""


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError


def test_odd_values_do_not_depend_on_addresses_and_raise_nothing() -> None:
    cyclic: dict[str, object] = {}
    cyclic["self"] = cyclic
    for make in (Opaque, Broken, lambda: cyclic, lambda: 10**5000, lambda: "\ud800", lambda: Decimal("NaN")):
        assert DIGESTS.digest({"x": make()}) == DIGESTS.digest({"x": make()})
    for row in (None, 5, "text", [1], {None: ["too", "many"]}, {1: "a", "1": "b"}, {("a",): 1}):
        assert len(DIGESTS.digest(row)) == 16


ROW = {
    "destination": NUMBER,
    "tags": {"x", "y", "z"},
    "when": datetime(2030, 1, 1, tzinfo=UTC),
    "price": Decimal("1.10"),
}
PINNED = [
    "00000005ec8293ef98dcf6e2b0dfbb8d",
    "2819094c7b8e4d0be272e4a6407c569b",
    "13dded4665c9dd92048fcedb6cc4ff0c",
]


def pinned() -> list[str]:
    message = sms(body="{a}{b}", placeholders={"b": "1", "a": "2"})
    return [DIGESTS.mint(5), DIGESTS.digest(message).hex(), DIGESTS.digest(ROW).hex()]


@pytest.mark.parametrize("seed", ["0", "1"])
def test_the_file_format_is_pinned_whatever_the_hash_seed(seed: str) -> None:
    command = [sys.executable, "-c", "from tests.test_journal_digest import pinned; print(*pinned())"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={"PYTHONHASHSEED": seed})
    assert done.stdout.split() == PINNED
