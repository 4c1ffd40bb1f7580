"""What a handler may know besides its event."""

from __future__ import annotations

import msgspec
from aiohttp import web

from ..errors import ConfigurationError

__all__ = ["Context"]


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """The second argument of a handler that takes two.

    Attributes:
        handler: the handler's durable name.
        attempt: which run of this handler on this event it is, from 1.
        application: see ``app``.
    """

    handler: str
    attempt: int = 1
    application: web.Application | None = None

    @property
    def app(self) -> web.Application:
        """The outermost aiohttp application that the receiver is mounted in: yours, with your resources.

        Raises ``ConfigurationError`` if there is none, because events come through ``receiver.ingest``.
        """
        if self.application is None:
            raise ConfigurationError("ctx.app: no request has come through an aiohttp application")
        return self.application

    def __repr__(self) -> str:
        return f"Context(handler={self.handler!r}, attempt={self.attempt})"
