"""What a client has seen of the account's templates, asked before a message that refers to one is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ..clock import Clock, SystemClock
from ..errors import InvalidMessageError, NotSentError, TemplateNotApprovedError
from ..models.channel import Channel
from ..models.message import FallbackRcs, FallbackSms, Message, Rcs, RcsContent, WhatsApp, WhatsAppTemplate
from ..models.text import placeholder_names, strings

if TYPE_CHECKING:
    from ..models.rcs import RcsTemplateInfo
    from ..models.variables import Variables
    from ..models.whatsapp import WhatsAppTemplateInfo

__all__ = ["KnownTemplates"]

_Key = tuple[Channel, str]

_UNUSABLE = {"PENDING": "is still under review", "REJECTED": "was rejected"}


class _Known(msgspec.Struct, frozen=True):
    variables: Variables | None
    status: str
    seen_at: float
    name: tuple[str, str] | None

    def __repr__(self) -> str:
        return f"_Known(status={self.status!r})"


class KnownTemplates:
    """Templates as they were last seen; a gate (see `Gate`) that checks messages against them.

    A client has one of its own. It learns from whatever ``client.whatsapp.templates`` and ``client.rcs.templates``
    answer, and nothing is asked for because of it: to know all, list them once. Make one yourself to share it between
    clients, or to have less checked.

    Args:
        check_values: whether placeholders must fit a template's variables.
        believe_for: seconds that a template seen as PENDING or REJECTED is taken to be so: approval may come at any
            time. 0 has the gateway decide. Other words, and APPROVED, never refuse.
        clock: tells the time; for tests.
    """

    def __init__(self, *, check_values: bool = True, believe_for: float = 300.0, clock: Clock | None = None) -> None:
        self._check_values = check_values
        self._believe_for = believe_for
        self._clock = clock or SystemClock()
        self._known: dict[_Key, _Known] = {}
        self._named: dict[tuple[str, str], set[_Key]] = {}
        self.any = False
        """Whether there is anything to check by."""

    def see(self, template: WhatsAppTemplateInfo | RcsTemplateInfo) -> None:
        """Take note of a template."""
        from ..protocol.template_rules import still_known  # noqa: PLC0415 — for those who have templates

        language = getattr(template, "language", None)
        name = (template.name, language.casefold()) if template.name and language else None
        if not template.id and name is None:
            return
        key = (template.channel, str(template.id) if template.id else " ".join(name or ()))
        before = self._known.get(key)
        self._known[key] = _Known(
            still_known(None if before is None else before.variables, template.variables),
            (getattr(template, "status", None) or "").upper(),
            self._clock.monotonic(),
            name,
        )
        if name is not None:
            self._named.setdefault(name, set()).add(key)
        self.any = True

    def forget(self, channel: Channel, template_id: int | str) -> None:
        """Know nothing of a template any more."""
        key = (channel, str(template_id))
        known = self._known.pop(key, None)
        if known is not None and known.name is not None:
            self._named[known.name].discard(key)

    async def check(self, message: Message) -> Message:
        """Let a message pass that fits its template, as far as it is known.

        Where a name and a language are those of several templates, one of another number's account perhaps, it must fit
        one of them.

        Raises:
            InvalidMessageError: a variable has no value, or a value no use.
            TemplateNotApprovedError: Meta has not approved it, when last seen.
        """
        failures: list[NotSentError | InvalidMessageError] = []
        for known in self._referred(message):
            failure = self._failure(known, message)
            if failure is None:
                return message
            failures.append(failure)
        if failures:
            raise failures[0]
        return message

    def _referred(self, message: Message) -> list[_Known]:
        if isinstance(message, Rcs) and message.template_id is not None:
            keys = {(Channel.RCS, str(message.template_id))}
        elif isinstance(message, WhatsApp) and isinstance(message.template, WhatsAppTemplate):
            keys = self._keys_of(message.template)
        else:
            return []
        return [self._known[key] for key in sorted(keys) if key in self._known]

    def _keys_of(self, template: WhatsAppTemplate) -> set[_Key]:
        if template.name is None or template.language is None:
            return {(Channel.WHATSAPP, str(template.id))}
        return self._named.get((template.name, template.language.casefold()), set())

    def _failure(self, known: _Known, message: Message) -> NotSentError | InvalidMessageError | None:
        from ..protocol.template_rules import check_values  # noqa: PLC0415

        if known.status in _UNUSABLE and self._clock.monotonic() - known.seen_at < self._believe_for:
            text = f"not sent: the template {_UNUSABLE[known.status]}, when last seen"
            return TemplateNotApprovedError(text, message_id=message.message_id)
        if not self._check_values or known.variables is None or _has_parameters(message):
            return None
        try:
            check_values(known.variables, message.placeholders or {}, used_elsewhere=self._used_elsewhere(message))
        except InvalidMessageError as error:
            return error
        return None

    def _used_elsewhere(self, message: Message) -> frozenset[str] | None:
        """Name the placeholders of a message's fallbacks; ``None`` if one of them is not known."""
        names: frozenset[str] = frozenset()
        sms = getattr(message, "fallback_sms", None)
        if isinstance(sms, FallbackSms):
            names |= placeholder_names(sms.text)
        rcs = getattr(message, "fallback_rcs", None)
        if rcs is None:
            return names
        if not isinstance(rcs, FallbackRcs):
            return None  # True: the gateway decides what it sends
        if isinstance(rcs.body, RcsContent):
            return names.union(*map(placeholder_names, strings(rcs.body.body)))
        stored = self._known.get((Channel.RCS, str(rcs.template_id)))
        return None if stored is None or stored.variables is None else names | stored.variables.names

    def __repr__(self) -> str:
        return f"KnownTemplates(<{len(self._known)} templates>)"


def _has_parameters(message: Message) -> bool:
    """Whether values are given in the other way, whose shape no page shows."""
    template = getattr(message, "template", None)
    return template is not None and template.parameters is not None
