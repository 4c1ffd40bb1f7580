"""Times as the platform API of the sandbox writes them."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["iso"]


def iso(seconds: float) -> str:
    """Write seconds since the epoch as ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
