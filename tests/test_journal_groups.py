"""Rows that one statement writes are written as they would be one by one."""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qlara_async.bulk.journal.statements import BEGIN, FINISH, RECORD, Write, prepare_groups
from qlara_async.bulk.journal.store import Store
from qlara_async.errors import JournalWriteError

from .test_sqlite_inbox_model import RAM_DISK

NOW = 1_750_000_000.125

texts = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
times = st.none() | st.integers(0, 8_000_000_000).map(lambda quarters: quarters / 4)  # which are exact as text, too
digests = st.sampled_from([b"", b"\0" * 16, b"d" * 16, b"\xff\0" * 8])


def begin(index: int, own_id: str | None, digest: bytes) -> Write:
    message_id = f"{index:08x}" if own_id is None else own_id
    return Write(BEGIN, index, (index, message_id, int(own_id is not None), "SMS", digest, NOW))


def finish(index: int, state: str, receipt: str | None, error: str | None, granted_at: float | None) -> Write:
    return Write(FINISH, index, (state, 1, receipt, error, granted_at, NOW, index))


def record(index: int, own_id: str | None, digest: bytes) -> Write:
    return Write(RECORD, index, (index, own_id, int(own_id is not None), None, digest, "invalid", None, NOW))


indexes = st.integers(0, 7)
own_ids = st.none() | st.sampled_from(["a", "è€😀\u2028", '"\\n'])
begun = st.builds(begin, indexes, own_ids, digests)
finished = st.builds(
    finish, indexes, st.sampled_from(["accepted", "failed", "unknown", "skipped"]), texts, texts, times
)
recorded = st.builds(record, indexes, own_ids, digests)


def groups_of(*kinds: st.SearchStrategy[Write]) -> st.SearchStrategy[list[list[Write]]]:
    group = st.lists(st.one_of(kinds), min_size=1, max_size=6, unique_by=lambda write: write.row)
    return st.lists(group, min_size=1, max_size=12)


class Twin:
    """A journal's store."""

    def __init__(self, path: Path, *, together: bool) -> None:
        self.store = Store(path, timeout=0.0)
        self.store.open(NOW)
        assert self.store._knows_groups
        self.store._knows_groups = together

    def commit(self, writes: list[Write]) -> tuple[dict[int, str], list[Any]]:
        refused = {place: repr(error) for place, error in self.store.commit(writes).items()}
        return refused, self.store._db.execute("SELECT * FROM bulk_rows ORDER BY idx").fetchall()


@given(groups_of(*[begun] * 4, *[finished] * 4, recorded))
@settings(max_examples=300, deadline=None)
def test_g1_g5_a_group_leaves_the_same_rows_and_refuses_the_same_as_its_rows_one_by_one(
    groups: list[list[Write]],
) -> None:
    with tempfile.TemporaryDirectory(dir=RAM_DISK if RAM_DISK.is_dir() else None) as directory:
        together, singly = (Twin(Path(directory) / f"{kind}.db", together=kind) for kind in (True, False))
        for writes in groups:
            assert together.commit(writes) == singly.commit(writes)
        together.store.close()
        singly.store.close()


@pytest.fixture
def store(tmp_path: Path) -> Any:
    store = Store(tmp_path / "campaign.db", timeout=0.0)
    store.open(NOW)
    yield store
    store.close()


def statements_of(store: Store, writes: list[Write]) -> set[str]:
    statements: list[str] = []
    store._db.set_trace_callback(statements.append)
    store.commit(writes)
    store._db.set_trace_callback(None)
    return {statement.split("(")[0].strip() for statement in statements}


def test_a_group_is_one_statement(store: Store) -> None:
    one = {"INSERT INTO row_groups VALUES"}
    assert statements_of(store, [begin(index, None, b"d") for index in range(9)]) == one
    assert statements_of(store, [finish(0, "accepted", "{}", None, None), begin(9, "own", b"d")]) == one


@pytest.mark.parametrize(
    "odd",
    [begin(0, None, b"other"), finish(5, "accepted", None, None, None), record(6, None, b"d"), begin(7, "own", b"")],
)
def test_g1_one_row_that_cannot_be_written_like_that_keeps_no_other_from_being_written(
    store: Store, odd: Write
) -> None:
    store.commit([begin(0, None, b"d"), begin(1, "own", b"d")])
    refused = store.commit([begin(2, None, b"d"), odd, finish(1, "accepted", None, None, NOW)])
    assert set(refused) == (set() if odd.statement is RECORD else {1})
    states = dict(store._db.execute("SELECT idx, state FROM bulk_rows"))
    assert states == {0: "started", 1: "accepted", 2: "started"} | ({6: "invalid"} if odd.statement is RECORD else {})


def on_disk(store: Store) -> list[int]:
    db = sqlite3.connect(store.path)
    indexes = [index for (index,) in db.execute("SELECT idx FROM bulk_rows")]
    db.close()
    return indexes


def test_g1_a_group_is_on_the_disk_when_it_is_written_whatever_failed_before(store: Store) -> None:
    with pytest.raises(OverflowError):
        store.commit([begin(2**63, None, b"d")])  # fails after the transaction of single rows has begun
    assert store.commit([begin(3, None, b"d")]) == {}
    assert on_disk(store) == [3]


def test_g1_nothing_is_written_as_a_part_of_another_transaction(store: Store) -> None:
    store._db.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalWriteError):
        store.commit([begin(3, None, b"d")])
    assert store.commit([begin(4, None, b"d")]) == {}
    assert on_disk(store) == [4]


@pytest.mark.parametrize("missing", ["FROM json_each(NEW.finished)", "json_each"])
def test_an_sqlite_that_cannot_write_groups_writes_rows(store: Store, missing: str) -> None:
    class Old(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            return super().execute(sql.replace(missing, "nothing_of_that_kind"), *parameters)

    db = sqlite3.connect(store.path, factory=Old)
    assert not prepare_groups(db)
    db.close()
    store._knows_groups = False
    assert store.commit([begin(0, None, b"d"), begin(1, None, b"d")]) == {}
    assert store._db.execute("SELECT count(*) FROM bulk_rows").fetchall() == [(2,)]
