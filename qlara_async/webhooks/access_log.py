"""Keeps the URL token out of the server's logs (guarantee G11).

The token is the last segment of the callback URL, and the default access log prints every URL, in the message and in
the record's ``first_request_line``. It is redacted by position: whatever follows the receiver's mount goes, right or
wrong, however it is percent-encoded, and wherever the mount's path stands in a record: as ``//mount/token``, after a
host without a scheme, in a query. Better one path too many than a token.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import RequestPayloadError

__all__ = ["NOWHERE", "REDACTED", "Redaction"]

REDACTED = "<redacted>"
NOWHERE = "\0"
"""The mount of an application that is gone: no path holds it."""

_STANDARD = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime"})
_LINE = "first_request_line"
_HEADERS = "request_header"
# What may hold a path: all up to a blank or a quote. A quote that a path goes on after belongs to it.
_RUN = re.compile(r"""[^\s"]+(?:(?<=[/\\])"+(?=[^\s",:}\])])[^\s"]*)*""")
# It takes all there is and gives nothing back, and is looked for where it begins only: so a line of slashes, which
# anyone may send, costs what any path of its length costs.
_SLASH = r"[/\\]++(?:\.[/\\]++)*+"
_BEGINS = r"(?<![/\\])(?<![/\\]\.)"
_BELOW = rf"(?={_SLASH}[^/\\]|[/\\]*[?#;])"
_MAX_DECODINGS = 4


class Redaction:
    """Redacts what stands below a path in the records of loggers: at first those that aiohttp uses by itself.

    Args:
        prefix: tells the mount's path; asked for each record, since an application is made before it is mounted.
    """

    def __init__(self, prefix: Callable[[], str]) -> None:
        self._filters: list[logging.Filter] = [_BelowMount(prefix), _Unparsed()]
        self._covered: list[tuple[logging.Logger, logging.Filter]] = []
        self.cover(logging.getLogger("aiohttp.access"), logging.getLogger("aiohttp.server"))

    def cover(self, *loggers: logging.Logger | None) -> None:
        """Redact in a server's own loggers too, such as ``gunicorn.access``: one for access, one for errors."""
        for logger, redacts in zip(loggers, self._filters, strict=True):
            if logger is not None and (logger, redacts) not in self._covered:
                logger.addFilter(redacts)
                self._covered.append((logger, redacts))

    def release(self) -> None:
        """Redact no more."""
        for logger, redacts in self._covered:
            logger.removeFilter(redacts)
        self._covered.clear()


class _BelowMount(logging.Filter):
    def __init__(self, prefix: Callable[[], str]) -> None:
        super().__init__()
        self._prefix = prefix

    def filter(self, record: logging.LogRecord) -> bool:
        prefix = unquote(self._prefix())
        message = _message(record)
        for raw, redacted in _known(record, prefix):
            # What fills a field may hold quotes and blanks, so it is taken whole, not looked for in the text.
            message = message.replace(raw, redacted)
        record.msg, record.args = _redact_text(message, prefix), None
        for name, value in vars(record).items():
            if name not in _STANDARD:
                setattr(record, name, _redact_value(value, prefix))
        return True


class _Unparsed(logging.Filter):
    """Takes the traceback from what aiohttp could not parse, on any path: it may quote a line that holds a token."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError | RequestPayloadError):
            record.msg, record.args = f"{_message(record)}: {type(error).__name__}", None
            record.exc_info = record.exc_text = None
        return True


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:
        return str(record.msg)  # its arguments do not fit, and would show what they hold


def _known(record: logging.LogRecord, prefix: str) -> list[tuple[str, str]]:
    """Redact the fields of a record of which we know what they are, and return what each was and is."""
    changes = []
    line = getattr(record, _LINE, None)
    if isinstance(line, str):
        changes.append((line, _redact_line(line, prefix)))
        setattr(record, _LINE, changes[-1][1])
    headers = getattr(record, _HEADERS, None)
    referer = headers.get("Referer") if isinstance(headers, dict) else None
    if isinstance(referer, str) and referer:
        changes.append((referer, _redact_referer(referer, prefix)))
        setattr(record, _HEADERS, {**headers, "Referer": changes[-1][1]} if isinstance(headers, dict) else None)
    return changes


def _redact_value(value: Any, prefix: str) -> Any:
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, dict):
        return {key: _redact_value(inner, prefix) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_redact_value(inner, prefix) for inner in value]
    text = str(value)  # a URL or a request, for instance
    redacted = _redact_text(text, prefix)
    return redacted if redacted != text else value


def _redact_line(line: str, prefix: str) -> str:
    method, _, rest = line.partition(" ")
    target, _, version = rest.rpartition(" ")
    return f"{method} {_redact_run(target, prefix)} {version}"


def _redact_referer(referer: str, prefix: str) -> str:
    if prefix or "//" in referer or referer.startswith("/"):
        return _redact_run(referer, prefix)
    host, slash, below = referer.partition("/")
    return f"{host}/{REDACTED}" if below else host + slash


def _redact_text(text: str, prefix: str) -> str:
    if not text.isascii():
        # Bytes that are no UTF-8 arrive as surrogates, which no log could be written with.
        text = text.encode("utf-8", "backslashreplace").decode()
    return _RUN.sub(lambda run: _redact_run(run[0], prefix), text)


def _redact_run(run: str, prefix: str) -> str:
    path = run
    for _ in range(_MAX_DECODINGS):
        encoded, path = path, unquote(path)
        if path == encoded:
            break
    found = _mount(prefix).match(path)
    if found:
        return f"{found['before']}{prefix}/{REDACTED}"
    if ".." in path and _mount(prefix).match(_without_dots(path)):
        return f"{prefix}/{REDACTED}"
    return run


@lru_cache(maxsize=64)
def _mount(prefix: str) -> re.Pattern[str]:
    """Match a path up to the mount, if anything stands below it."""
    segments = [re.escape(segment) for segment in prefix.split("/") if segment]
    if segments:
        return re.compile(
            rf"(?P<before>.*?){_BEGINS}{_SLASH}{_SLASH.join(segments)}{_BELOW}", re.DOTALL | re.IGNORECASE
        )
    # Mounted at the root, every path is below: here it must be clear that it is one.
    return re.compile(rf"(?P<before>['(<\[]*(?:[a-z][a-z0-9+.-]*://[^/\\?#]*)?){_BELOW}", re.IGNORECASE)


def _without_dots(path: str) -> str:
    kept: list[str] = []
    for segment in re.split(r"[/\\]+", path):
        if segment != "..":
            kept.append(segment)
        elif kept:
            kept.pop()
    return "/".join(kept)
