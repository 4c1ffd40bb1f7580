"""Whether a send fits the stored template it refers to (FAQ, 422: "Template variables don't match")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...models.variables import TRACKED_LINK, variables_in

__all__ = ["mismatch"]


def mismatch(texts: Any, placeholders: Mapping[str, str] | None, *, has_fallback: bool) -> str | None:
    """Say what is wrong. Values may be a fallback's, and a tracked link a button's: then they need no use here."""
    names, given = variables_in([texts]).names, set(placeholders or ())
    if names - given:
        return "Field `placeholders` lacks a variable of the template"
    unused = {name for name in given - names if not TRACKED_LINK.fullmatch(name)}
    return "Field `placeholders` has a value that the template does not use" if unused and not has_fallback else None
