"""Pages, filters and ids as the platform API of the sandbox has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..answers import Reply, reply

__all__ = ["page_of", "spring_page"]


def page_of(items: Sequence[Any], page: int | None, limit: int | None, default: int = 10) -> list[Any]:
    """Cut a page out, from 0."""
    size = default if limit is None else limit
    start = (page or 0) * size
    return list(items[start : start + size])


def spring_page(items: Sequence[Any], page: int | None, limit: int | None, default: int = 10) -> Reply:
    """Answer a page in Spring's envelope, as UC-028 shows it for contacts (the API pages show none)."""
    return reply(200, {"content": page_of(items, page, limit, default), "totalElements": len(items)})
