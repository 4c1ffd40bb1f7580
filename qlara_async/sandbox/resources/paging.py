"""Pages, filters and ids as the platform API of the sandbox has them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..answers import Reply, reply

__all__ = ["in_order", "page_of", "spring_page"]


def in_order(items: Iterable[dict[str, Any]], by: str, order: str | None) -> list[dict[str, Any]]:
    """Sort by a field as text, then by id."""
    return sorted(
        items, key=lambda item: ("" if by == "id" else str(item.get(by) or ""), item["id"]), reverse=order == "desc"
    )


def page_of(items: Sequence[Any], page: int | None, limit: int | None, default: int = 10) -> list[Any]:
    """Cut a page out, from 0."""
    size = default if limit is None else limit
    start = (page or 0) * size
    return list(items[start : start + size])


def spring_page(items: Sequence[Any], page: int | None, limit: int | None, default: int = 10) -> Reply:
    """Answer a page in Spring's envelope, as UC-028 shows it for contacts (the API pages show none)."""
    return reply(200, {"content": page_of(items, page, limit, default), "totalElements": len(items)})
