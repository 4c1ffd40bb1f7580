"""No complete answer of the gateway came, or what came is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from .root import QlaraError, circumstances

__all__ = [
    "BatchUnknownError",
    "ConnectionFailed",
    "DeliveryUnknownError",
    "RequestTimeout",
    "Sent",
    "TransferError",
    "TransportError",
]

Sent = Literal["no", "maybe"]
"""Whether any of a request may have reached the gateway: ``"no"`` is a proof, ``"maybe"`` is everything else."""


class TransportError(QlaraError):
    """The gateway gave no complete answer.

    Attributes:
        sent: ``"no"`` if provably nothing of the request's body left this machine, else ``"maybe"``.
        attempts: requests put on the wire so far.
        message_id: the message concerned, if it was a send.
    """

    sent: Sent

    def __init__(self, text: str, *, sent: Sent = "maybe", attempts: int = 1, message_id: str | None = None) -> None:
        super().__init__(text)
        self.sent = sent
        self.attempts = attempts
        self.message_id = message_id

    def __str__(self) -> str:
        return super().__str__() + circumstances(self.message_id, self.attempts)


class ConnectionFailed(TransportError):
    """The connection could not be opened, or broke before the answer was complete."""


class RequestTimeout(TransportError, TimeoutError):
    """A time-out of one attempt.

    Attributes:
        phase: ``"connect"`` (nothing was sent) or ``"read"``.
    """

    phase: Literal["connect", "read"]

    def __init__(
        self,
        text: str,
        *,
        phase: Literal["connect", "read"],
        sent: Sent = "maybe",
        attempts: int = 1,
        message_id: str | None = None,
    ) -> None:
        super().__init__(text, sent=sent, attempts=attempts, message_id=message_id)
        self.phase = phase


class DeliveryUnknownError(TransportError):
    """A send may or may not have been accepted, and was not repeated (guarantee G1).

    Look ``message_id`` up with ``client.messages.status`` before you send it again. The cause is in ``__cause__``.
    """


class BatchUnknownError(DeliveryUnknownError):
    """Some messages of one request may or may not have been accepted, and were not repeated.

    Attributes:
        message_ids: those messages. What became of the others of the request is in `accepted` and `refused`.
        accepted: ids of those that the gateway took.
        refused: ids of those that it did not.
    """

    message_ids: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, message_ids: Sequence[str], accepted: Sequence[str], refused: Sequence[str], *, attempts: int = 1
    ) -> BatchUnknownError:
        """Make the error of a request."""
        shown = ", ".join(message_ids[:3]) + (" …" if len(message_ids) > 3 else "")
        error = cls(f"{len(message_ids)} messages may have been accepted: look up {shown}", attempts=attempts)
        error.message_ids, error.accepted, error.refused = tuple(message_ids), tuple(accepted), tuple(refused)
        return error


class TransferError(QlaraError):
    """A file could not be uploaded or downloaded; of a download nothing is left.

    The text says why: what was to be sent cannot be read, or what comes is too large, too slow, from where it must not
    come, or cannot be written.
    """
