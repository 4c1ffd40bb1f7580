"""What was erased of a number, and where."""

from __future__ import annotations

import msgspec

__all__ = ["Erased"]


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """What one place held of a number, and holds no more.

    Attributes:
        place: what was searched, as ``"suppression list suppressed.db"``.
        removed: what was removed, by kind.
        scrubbed: no byte of it is left in the file. ``False`` while another process has the file open and reads: erase
            again later. What the disk or a backup keeps is not known here.
        note: what else there is to know.
    """

    place: str
    removed: dict[str, int]
    scrubbed: bool = True
    note: str = ""

    @property
    def total(self) -> int:
        """How much was removed."""
        return sum(self.removed.values())
