"""What is asked before a message is sent: gates, which let it pass, replace it, or refuse it."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import msgspec

from ..errors import ConfigurationError
from ..models.events import Inbound
from ..models.message import Message, fix_message_id

__all__ = ["Gate", "Listening", "admit", "check_gates", "simulated"]


class Gate(Protocol):
    """Asked about each message before it costs a grant of the limiter or a request, in bulk jobs too.

    It is not asked again when a send is repeated, nor about a message that was looked up and found; but about what a
    later gate puts in the message's place.
    """

    async def check(self, message: Message) -> Message:
        """Return the message to send: this one, or another to the same recipient on the same channel.

        Where it need not wait it should not: then it costs no switch of tasks.

        Raises:
            NotSentError: the message is not to be sent. In a bulk job that is a ``skipped`` outcome.
        """


@runtime_checkable
class Listening(Protocol):
    """A gate that goes by what customers write."""

    async def hear(self, event: Inbound) -> None:
        """Take in what a customer wrote, before their answer is checked. The same event may come several times."""


def check_gates(gates: Sequence[object]) -> None:
    """Raise ``ConfigurationError`` if one of these is no gate."""
    if not all(inspect.iscoroutinefunction(getattr(gate, "check", None)) for gate in gates):
        raise ConfigurationError("a gate, such as a SuppressionList, has an async method check(message)")


async def admit(gates: Sequence[Gate], message: Message, *, simulation: bool = False) -> Message:
    """Pass a message, whose id is fixed, through all gates; a dry run, or any if `simulation`, comes out as one.

    What a gate puts in its place is asked about again by those before it: it may arrive on other channels.

    Raises:
        NotSentError: a gate refused it.
        ConfigurationError: a gate put a message in its place that has another id, recipient or channel.
    """
    admitted = message
    for place, gate in enumerate(gates):
        answer = await gate.check(admitted)
        if answer is not admitted:
            _check_replacement(message, answer)
            admitted = await admit(gates[:place], answer)
    return simulated(admitted) if simulation or message.simulation else admitted


def simulated(message: Message) -> Message:
    """Make a dry run of a message."""
    return message if message.simulation else msgspec.structs.replace(message, simulation=True)


def _check_replacement(message: Message, replacement: Message) -> None:
    """Require that look-ups, journals and callbacks know the replacement by what they know the message by."""
    known = message.message_id
    if known is not None:
        fix_message_id(replacement, lambda: known)
    same = (message.message_id, message.destination, message.channel)
    if (replacement.message_id, replacement.destination, replacement.channel) != same:
        raise ConfigurationError("a gate may replace what a message says, not its id, recipient or channel")
