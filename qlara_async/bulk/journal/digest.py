"""What a row means, as a keyed digest, and ids that a journal knows for its own.

Both are keyed with a salt that each journal draws for itself, so that a digest tells nothing to who has not the file.
They are part of the file's format: a change here needs another `SCHEMA_VERSION`.
"""

from __future__ import annotations

import copy
import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Set
from typing import Any

from msgspec.structs import force_setattr

from ...models.message import Message, Rcs, Sms, WhatsApp
from ...protocol.encoding import encode_message

__all__ = ["SALT_SIZE", "Digests"]

SALT_SIZE = 32
_DIGEST_SIZE = 16
_MAC_SIZE = 12
_DEPTH = 32
_MESSAGES = (Sms, Rcs, WhatsApp)
_MINTED = re.compile(r"([0-9a-f]{8,15})([0-9a-f]{24})", re.ASCII)
_REMEMBERED = 1024
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


class Digests:
    """Digests and ids of one journal.

    Args:
        salt: `SALT_SIZE` random bytes, drawn when the journal was made.
    """

    def __init__(self, salt: bytes) -> None:
        self._content = hashlib.blake2b(key=salt, digest_size=_DIGEST_SIZE, person=b"message")
        self._row = hashlib.blake2b(key=salt, digest_size=_DIGEST_SIZE, person=b"row")
        self._mac = hashlib.blake2b(key=salt, digest_size=_MAC_SIZE, person=b"id")
        self._minted: dict[str, int] = {}

    def mint(self, index: int) -> str:
        """Mint the id of row `index`: its number and 96 keyed bits, together at least 32 hexadecimal digits.

        The same journal mints the same id again, and knows its own (`minted_for`): only ids that callers gave have to
        be looked for among the others. An index of random ids would cost more than everything else the journal does.
        """
        number = f"{index:08x}"
        message_id = number + _keyed(self._mac, number.encode()).hex()
        self._minted[message_id] = index  # it is about to be asked for, twice
        if len(self._minted) > _REMEMBERED:
            del self._minted[next(iter(self._minted))]
        return message_id

    def minted_for(self, message_id: str) -> int | None:
        """Return the index of the row that `message_id` was minted for by this journal, or ``None``."""
        index = self._minted.get(message_id)
        if index is not None:
            return index
        match = _MINTED.fullmatch(message_id)
        if match is None:
            return None
        number = match[1]
        if not hmac.compare_digest(_keyed(self._mac, number.encode()).hex(), match[2]):
            return None
        return int(number, 16)

    def digest(self, item: object) -> bytes:
        """Digest a message, or an item of a source that is none.

        For a message: the JSON it is sent as, without an id that this journal minted. For anything else: canonical
        JSON with sorted keys. Both are the same in every run and on every version of Python.
        """
        if isinstance(item, _MESSAGES):
            return _keyed(self._content, encode_message(self._without_minted_id(item)))
        return _keyed(self._row, json.dumps(_canonical(item, _DEPTH)).encode())

    def _without_minted_id(self, message: Message) -> Message:
        if message.message_id is None or self.minted_for(message.message_id) is None:
            return message
        bare = copy.copy(message)
        force_setattr(bare, "message_id", None)
        return bare


def _keyed(keyed: hashlib.blake2b, data: bytes) -> bytes:
    digest = keyed.copy()
    digest.update(data)
    return digest.digest()


def _canonical(value: object, depth: int) -> Any:
    """Turn anything into JSON that depends on what it says only, never on order, hash seeds or addresses."""
    if value is None or type(value) in {str, bool}:
        return value
    if depth == 0:
        return ["…"]
    if isinstance(value, Mapping):
        return {
            "map": sorted(([_canonical(k, depth - 1), _canonical(v, depth - 1)] for k, v in value.items()), key=_text)
        }
    if isinstance(value, list | tuple):
        return {"list": [_canonical(item, depth - 1) for item in value]}
    if isinstance(value, Set):
        return {"set": sorted((_canonical(item, depth - 1) for item in value), key=_text)}
    return {type(value).__qualname__: _shown(value)}


def _text(value: object) -> str:
    return json.dumps(value)


def _shown(value: object) -> str:
    try:
        return _ADDRESS.sub("", repr(value))
    except Exception:  # a row may hold anything, also what cannot be shown
        return ""
