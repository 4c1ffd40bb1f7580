"""One operation of the API: where it is, what it takes and answers, and which page says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from ...errors import ConfigurationError
from ...models.record import Id
from ..parameters import checked, expand, write_query
from ..requests import REPEATABLE, Request

__all__ = ["Operation"]

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """An operation of the API.

    Attributes:
        id: our name of it, ``area.action``.
        method: the HTTP method.
        path: below the base URL, with ``{names}`` where values go.
        summary: what it does, one sentence.
        source: the page that documents it, below ``agiletelecom.com/documentation/``.
        query: the struct of its query parameters.
        body: the type of its JSON body.
        form: the struct of its ``multipart/form-data`` fields; the file itself is the part ``file``.
        answer: the type of its answer; ``None`` where there is none, ``bytes`` where it is a file.
        success: the status of success. Where no page shows it, `guess` says so.
        errors: the statuses of failure its page names, besides 401, 403 and 429, which any operation may answer.
        guess: what of this is a guess; empty if the page says it all.
        secret: whether a value of its path must not be shown.
        idempotent: whether repeating it does no harm; ``None``: as HTTP says of the method.
    """

    id: str
    method: Method
    path: str
    summary: str
    source: str
    query: type[msgspec.Struct] | None = None
    body: Any = None
    form: type[msgspec.Struct] | None = None
    answer: Any = None
    success: int = 200
    errors: tuple[int, ...] = ()
    guess: str = ""
    secret: bool = False
    idempotent: bool | None = None

    def request(
        self,
        *,
        path: Mapping[str, Id] | None = None,
        query: msgspec.Struct | None = None,
        body: msgspec.Struct | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> Request:
        """Build the request.

        Args:
            path: the values of the path's names; each stays one segment.
            query: an instance of the operation's query struct.
            body: an instance of its body struct.
            more: further members of the body, for what no page documents; the struct's own win.

        Raises:
            ConfigurationError: a value does not fit; nothing was sent.
        """
        return Request(
            method=self.method,
            path=expand(self.path, path or {}),
            query=write_query(query),
            body=_encoded(body, more),
            repeatable=self.method in REPEATABLE if self.idempotent is None else self.idempotent,
            shown_as=self.path if self.secret else "",
        )


def _encoded(body: msgspec.Struct | None, more: Mapping[str, Any] | None) -> bytes | None:
    if body is None and more is None:
        return None
    known = None if body is None else checked(body)
    if not more:
        return msgspec.json.encode({} if known is None else known)
    try:
        return msgspec.json.encode({**more, **({} if known is None else msgspec.to_builtins(known))})
    except TypeError:
        text = "further fields of a request must be JSON, under text keys"
    raise ConfigurationError(text)
