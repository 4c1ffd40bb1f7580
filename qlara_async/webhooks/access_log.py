"""Keeps the URL token out of aiohttp's access log (guarantee G11).

The token is the last segment of the callback URL, and the default access log prints every URL, in the message and in
the record's ``first_request_line``. It is redacted by position: whatever stands below the receiver's mount goes,
right or wrong, however it is percent-encoded.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

__all__ = ["NOWHERE", "REDACTED", "redact_below"]

REDACTED = "<redacted>"
NOWHERE = "\0"
"""The mount of an application that is gone: no path begins with it."""

_STANDARD = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime"})
_LINE = "first_request_line"
# A request line's target, or a URL as in a Referer: it starts after a blank, quote or bracket.
_TARGET = re.compile(r"(?<![^\s\"'(<\[])((?:[A-Za-z][A-Za-z0-9+.-]*://[^/\s\"]*)?)(/[^\s\"]*)")


def redact_below(prefix: Callable[[], str]) -> Callable[[], None]:
    """Redact everything below a path in the records of ``aiohttp.access``, until the returned function is called.

    Args:
        prefix: tells the mount's path; asked for each record, since an application is made before it is mounted.
    """
    redaction = _Redaction(prefix)
    logger = logging.getLogger("aiohttp.access")
    logger.addFilter(redaction)
    return lambda: logger.removeFilter(redaction)


class _Redaction(logging.Filter):
    def __init__(self, prefix: Callable[[], str]) -> None:
        super().__init__()
        self._prefix = prefix

    def filter(self, record: logging.LogRecord) -> bool:
        prefix = unquote(self._prefix())
        line = getattr(record, _LINE, None)
        message = record.getMessage()
        if isinstance(line, str):
            # The target may hold quotes and blanks, so it is taken from the line it fills, not looked for in the text.
            message = message.replace(line, _redact_line(line, prefix))
        record.msg, record.args = _redact_text(message, prefix), None
        for name, value in vars(record).items():
            if name not in _STANDARD:
                setattr(record, name, _redact_line(value, prefix) if name == _LINE else _redact_value(value, prefix))
        return True


def _redact_value(value: Any, prefix: str) -> Any:
    if isinstance(value, str):
        return _redact_text(value, prefix)
    if isinstance(value, dict):
        return {key: _redact_value(inner, prefix) for key, inner in value.items()}
    return value


def _redact_line(line: Any, prefix: str) -> Any:
    if not isinstance(line, str):
        return line
    method, _, rest = line.partition(" ")
    target, _, version = rest.rpartition(" ")
    if not target.startswith("/"):
        return _redact_text(line, prefix)
    return f"{method} {_redact_path(target, prefix)} {version}"


def _redact_text(text: str, prefix: str) -> str:
    return _TARGET.sub(lambda found: found[1] + _redact_path(found[2], prefix), text)


def _redact_path(path: str, prefix: str) -> str:
    decoded = unquote(path)
    below = decoded.removeprefix(prefix)
    if not decoded.startswith(prefix) or below[:1] not in ("/", "?") or below == "/":
        return path
    return f"{prefix}/{REDACTED}"
