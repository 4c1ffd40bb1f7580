from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlara_async.protocol.nesting import MAX_DEPTH, nests_too_deeply

texts = st.text(alphabet=st.sampled_from('[]{}"\\a'), max_size=6)
trees = st.recursive(
    st.none() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=60,
)


def depth(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@given(trees, st.integers(MAX_DEPTH - 6, MAX_DEPTH), st.sampled_from(["[%s]", '{"]":%s}', '[["{"],%s,{"a":[]}]']))
def test_the_depth_is_that_of_the_decoded_value(tree: Any, around: int, wrapping: str) -> None:
    text = json.dumps(tree)
    for _ in range(around):
        text = wrapping % text
    assert nests_too_deeply(text.encode()) is (depth(json.loads(text)) > MAX_DEPTH)


@pytest.mark.parametrize(
    ("text", "too_deep"),
    [
        (b"[" * 64 + b"]" * 64, False),
        (b"[" * 65 + b"]" * 65, True),
        (b"[{" * 33, True),
        (b"[" * 1_000_000, True),
        (b"]" * 1_000_000, False),
        (b"[]" * 10_000, False),
        (b"[]," * 300_000, True),
        (b'["' + b"[" * 1000 + b'"]', False),
        (b'["\\"' + b"[" * 1000 + b'"]', False),
        (b'["\\\\",' + b"[" * 1000, True),
        (b"", False),
    ],
)
def test_brackets_count_where_they_nest(text: bytes, too_deep: bool) -> None:
    assert nests_too_deeply(text) is too_deep


@given(st.binary())
def test_no_bytes_raise(text: bytes) -> None:
    assert nests_too_deeply(text * 100) in (True, False)
