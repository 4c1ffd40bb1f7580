"""What every answer of the platform API is made of: a struct whose fields the gateway may leave out or add to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self, TypeAlias

import msgspec

__all__ = ["Id", "Record"]

Id: TypeAlias = int | str
"""An id of the platform API: numeric on the API pages, prefixed text (``cnt_…``) in the use cases. Both are taken."""


class Record(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An object the gateway answered with, open to fields and values we do not know.

    A field the answer lacks, or has in a type that does not fit, is its default; nothing is lost, as `raw` has the
    object whole. Words of an enumeration stay the strings they are: those of our string enums compare equal to them.

    Attributes:
        raw: the JSON object as it came.
    """

    aliases: ClassVar[dict[str, tuple[str, ...]]] = {}
    """Other names of a field in the API's pages, by our name of it."""
    shown: ClassVar[tuple[str, ...]] = ("id",)
    """The fields that ``repr`` shows: nothing that tells who somebody is, or what they wrote."""

    raw: dict[str, Any] = {}

    def completed(self, sent: Mapping[str, Any]) -> Self:
        """Return it with what was sent where the answer says nothing; `raw` stays the answer."""
        return msgspec.structs.replace(
            self, **{name: value for name, value in sent.items() if getattr(self, name) in (None, (), "")}
        )

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"

    def __rich_repr__(self) -> Any:
        for name in self.shown:
            if hasattr(self, name):
                yield name, getattr(self, name)
