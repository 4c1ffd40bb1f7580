"""What wraps the runs of handlers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from ..models.events import Event
from .context import Context

__all__ = ["CallNext", "Middleware", "chain"]

CallNext: TypeAlias = Callable[[Event, Context], Awaitable[object]]
"""What a middleware calls to go on: the next one, and in the end the handler."""

Middleware: TypeAlias = Callable[[Event, Context, CallNext], Awaitable[object]]
"""``async def middleware(event, ctx, call_next)``: runs for each run of a handler, and goes on with
``await call_next(event, ctx)``. What it raises counts as raised by the handler; if it does not go on, the handler is
skipped, and counts as having ended well."""


def chain(middlewares: Sequence[Middleware], last: CallNext) -> CallNext:
    """Link middlewares, the first outermost, around what is called last."""
    call = last
    for middleware in reversed(middlewares):
        call = _link(middleware, call)
    return call


def _link(middleware: Middleware, call_next: CallNext) -> CallNext:
    return lambda event, ctx: middleware(event, ctx, call_next)
