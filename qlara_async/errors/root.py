"""The root of the tree, and what is wrong with a call itself."""

from __future__ import annotations

from typing import Any

__all__ = [
    "ClientClosedError",
    "ClientStateError",
    "ConfigurationError",
    "HandlerTimeout",
    "InvalidMessageError",
    "QlaraError",
    "WrongEventLoopError",
    "circumstances",
]


def _rebuild(cls: type[QlaraError], args: tuple[Any, ...], state: dict[str, Any]) -> QlaraError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class QlaraError(Exception):
    """The root of the tree."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by attributes, so that errors with keyword arguments survive queues and process pools."""
        return _rebuild, (type(self), self.args, self.__dict__.copy())


class ConfigurationError(QlaraError, ValueError):
    """A client, receiver or limiter was set up in a way that cannot work."""


class InvalidMessageError(QlaraError, ValueError):
    """The input is wrong; it was found before a request was spent.

    Attributes:
        field: the field at fault, in snake_case, or ``None`` where no single one is.
        reason: what is wrong with it, without its value.
    """

    field: str | None
    reason: str

    def __init__(self, reason: str, *, field: str | None = None) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field = field
        self.reason = reason


class ClientStateError(QlaraError, RuntimeError):
    """The client cannot be used now."""


class ClientClosedError(ClientStateError):
    """The client was used after it was closed."""


class WrongEventLoopError(ClientStateError):
    """The client was used from another event loop than the one it started on."""


class HandlerTimeout(QlaraError, TimeoutError):
    """A handler was cancelled because it took longer than its ``timeout``; the attempt has failed.

    Attributes:
        handler: its durable name.
        timeout: seconds it may take.
    """

    def __init__(self, handler: str = "", timeout: float = 0.0) -> None:
        super().__init__(f"handler {handler} took longer than {timeout:g} seconds, and was cancelled")
        self.handler = handler
        self.timeout = timeout


def circumstances(message_id: str | None, attempts: int) -> str:
    """Name the message, and the attempts where they are several, for the end of a text."""
    parts = [f"message {message_id}"] if message_id else []
    if attempts > 1:
        parts.append(f"{attempts} attempts")
    return f" ({', '.join(parts)})" if parts else ""
