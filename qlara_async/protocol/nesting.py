"""How deep a JSON text nests, told without decoding it.

A decoder recurses into what it reads, and so does whoever reads ``event.raw`` again: a body of brackets alone would
exhaust their stacks. This looks at bytes only, at the speed of C, and does not recurse.
"""

from __future__ import annotations

from itertools import accumulate

__all__ = ["MAX_BRACKETS", "MAX_DEPTH", "nests_too_deeply"]

MAX_DEPTH = 64
"""Arrays and objects inside one another; the documented callbacks have two levels."""

MAX_BRACKETS = 10_000
"""Arrays and objects in all, which bounds the time this takes; a thousand documented callbacks have two thousand."""

_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_OTHERS = bytes(byte for byte in range(256) if byte not in b'[]{}"')
_STEPS = {ord("["): 1, ord("]"): -1}


def nests_too_deeply(text: bytes) -> bool:
    """Tell whether more than ``MAX_DEPTH`` arrays and objects are nested, or there are more than ``MAX_BRACKETS``.

    Of what is not JSON it may tell anything: the decoder will refuse that.
    """
    opening = text.count(b"{") + text.count(b"[")
    if opening <= MAX_DEPTH:
        return False
    if max(opening, text.count(b"}") + text.count(b"]")) > MAX_BRACKETS:
        return True
    # Escapes occur in strings only. Without escaped quotes, what follows an odd number of quotes is in a string, and
    # taking two that touch away does not change that.
    unescaped = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    marks = unescaped.translate(_ONE_KIND, _OTHERS).replace(b'""', b"")
    brackets = b"".join(marks.split(b'"')[::2])
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > MAX_DEPTH
