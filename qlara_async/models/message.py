"""Messages: one struct for each send endpoint, checked when it is made, before a request is spent.

Fields are those of the API's send pages, in snake_case here and in camelCase on the wire. Shapes that only the vendor's
FAQ shows (``fallback_rcs=True``, ``template={"name", "language"}``, a WhatsApp ``body`` as a string) are sent as shown.
What is not a plain value is copied on construction, so that a message never changes under its sender.

``repr`` shows class, channel and message id only: numbers, senders, texts and placeholder values stay out of logs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, ClassVar, TypeAlias, TypeVar

import msgspec
from msgspec.structs import force_setattr

from ..errors import InvalidMessageError
from . import text as rules
from .channel import Channel

__all__ = [
    "FallbackRcs",
    "FallbackSms",
    "Message",
    "Rcs",
    "RcsContent",
    "Sms",
    "WhatsApp",
    "WhatsAppTemplate",
    "build",
    "fix_message_id",
]

_RCS_TEXT_LIMIT = 1024
_WHATSAPP_TEXT_LIMIT = 4096
_CAMPAIGN_ID_LIMIT = 255
_RCS_TYPES = ("TEXT", "CARD", "CAROUSEL", "FORM")

_T = TypeVar("_T", bound=msgspec.Struct)


class _Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


class RcsContent(_Part, frozen=True, kw_only=True):
    """Inline content of an RCS message.

    Attributes:
        type: ``TEXT``, ``CARD`` or ``CAROUSEL`` (API); ``FORM`` is named by the FAQ only, its schema is undocumented.
        body: the fields of that type, by the API's own names. A ``TEXT`` has ``text``.
    """

    type: str
    body: Mapping[str, Any]

    def __post_init__(self) -> None:
        if type(self.type) is not str or self.type not in _RCS_TYPES:
            raise InvalidMessageError(f"must be one of {', '.join(_RCS_TYPES)}", field="type")
        force_setattr(self, "body", rules.object_copy(self.body, "body"))
        if self.type == "TEXT":
            rules.check_text(self.body.get("text"), "body.text")


class FallbackSms(_Part, frozen=True, kw_only=True):
    """The SMS sent if the message cannot be delivered on its own channel. The API wants both fields.

    Attributes:
        sender: as in `Sms`.
        text: the text, with the placeholders of the message.
    """

    sender: str
    text: str

    def __post_init__(self) -> None:
        rules.check_sender(self.sender)
        rules.check_text(self.text, "text")


class FallbackRcs(_Part, frozen=True, kw_only=True):
    """The RCS message sent if WhatsApp fails. Of this object the API's pages show only ``agentId``.

    Attributes:
        agent_id: the RCS agent.
        body: inline content, as in `Rcs`; guess, by analogy with it.
        template_id: a stored RCS template instead; guess, by analogy with `Rcs`.
    """

    agent_id: int
    body: RcsContent | Mapping[str, Any] | str | None = None
    template_id: int | None = None

    def __post_init__(self) -> None:
        rules.check_int(self.agent_id, "agent_id")
        _fix_content(self)


class WhatsAppTemplate(_Part, frozen=True, kw_only=True):
    """A reference to a template approved by Meta: by ``id``, or by ``name`` and ``language``.

    The API's pages do not show the fields: ``id`` is a guess from a use case, ``name`` and ``language`` are the FAQ's,
    ``parameters`` is a guess from a page of low trust.

    Attributes:
        id: the id in the template list.
        name: the template's name.
        language: its language, as ``it`` or ``en_US``.
        parameters: JSON values, sent as they are.
    """

    id: int | None = None
    name: str | None = None
    language: str | None = None
    parameters: Mapping[str, Any] | Sequence[Any] | None = None

    def __post_init__(self) -> None:
        if (self.id is None) == (self.name is None):
            raise InvalidMessageError("give either the id, or name and language", field="id")
        if self.name is None:
            rules.check_int(self.id, "id")
            if self.language is not None:
                raise InvalidMessageError("goes with name, not with id", field="language")
        else:
            rules.check_text(self.name, "name")
            rules.check_text(self.language, "language")
        if self.parameters is not None:
            force_setattr(self, "parameters", rules.json_copy(self.parameters, "parameters"))


class _Envelope(_Part, frozen=True, kw_only=True):
    channel: ClassVar[Channel]

    destination: str
    campaign_id: str | None = None
    message_id: str | None = None
    simulation: bool = False
    enable_notification: bool = True
    placeholders: Mapping[str, str] | None = None
    scheduled_date: datetime | None = None

    def __post_init__(self) -> None:
        rules.check_destination(self.destination)
        if self.campaign_id is not None:
            rules.check_text(self.campaign_id, "campaign_id", _CAMPAIGN_ID_LIMIT)
        if self.message_id is not None:
            rules.check_message_id(self.message_id)
        rules.check_bool(self.simulation, "simulation")
        rules.check_bool(self.enable_notification, "enable_notification")
        if self.placeholders is not None:
            force_setattr(self, "placeholders", rules.placeholder_values(self.placeholders) or None)
        if self.scheduled_date is not None:
            rules.check_aware(self.scheduled_date, "scheduled_date")
        self._check_content()

    def _check_content(self) -> None:
        """Check, and bring into one form, what only this channel's messages have."""

    def _check_rendered(self, content: RcsContent | None, field: str, sms: FallbackSms | None) -> None:
        if content is not None and content.type == "TEXT":
            rules.check_text(rules.render(content.body["text"], self.placeholders), field, _RCS_TEXT_LIMIT)
        if sms is not None:
            rules.check_sms_text(rules.render(sms.text, self.placeholders), "fallback_sms.text")

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("channel", self.channel.value), ("message_id", self.message_id)]


class Sms(_Envelope, frozen=True, kw_only=True):
    """An SMS to one recipient (``POST /message-server/sms/send``). Raises ``InvalidMessageError`` if a field is wrong.

    Attributes:
        destination: the recipient in E.164: ``+`` and 7 to 15 digits.
        sender: up to 11 letters, digits, spaces and ``. & - _`` with a letter among them, or up to 16 digits.
        body: the text; after rendering at most 255 parts.
        campaign_id: a grouping id of up to 255 characters.
        message_id: your own id, 1 to 255 printable characters without spaces or commas (status queries separate ids by
            them); minted when the message is journalled or first sent.
        udh_data: a user data header in hex, its length octet first, at most 140 octets.
        simulation: a dry run: checked by the gateway, not sent, not charged.
        enable_notification: whether delivery callbacks are wanted.
        placeholders: values of the ``{name}`` in the body, exactly those that it uses.
        scheduled_date: an aware time to send at; the gateway gets milliseconds.
        skip_rcs_override: send as SMS although the account turns SMS into RCS.
    """

    channel: ClassVar[Channel] = Channel.SMS

    sender: str
    body: str
    udh_data: str | None = None
    skip_rcs_override: bool = False

    def _check_content(self) -> None:
        rules.check_sender(self.sender)
        rules.check_text(self.body, "body")
        rules.check_bool(self.skip_rcs_override, "skip_rcs_override")
        if self.udh_data is not None:
            rules.check_udh(self.udh_data)
        if self.placeholders is not None or "{" in self.body:
            rules.check_placeholders([self.body], self.placeholders)
        rules.check_sms_text(rules.render(self.body, self.placeholders), "body", self._udh_octets)

    @property
    def _udh_octets(self) -> int:
        return len(self.udh_data or "") // 2

    @property
    def segments(self) -> rules.Segments:
        """Encoding and number of parts of the text, its placeholders rendered."""
        text = self.body if self.placeholders is None else rules.render(self.body, self.placeholders)
        return rules.segments(text) if self.udh_data is None else rules.segments(text, udh_octets=self._udh_octets)


class Rcs(_Envelope, frozen=True, kw_only=True):
    """An RCS message to one recipient (``POST /message-server/rcs/send``). Raises ``InvalidMessageError``.

    Attributes:
        destination: as in `Sms`.
        agent_id: the RCS agent.
        body: inline content: an `RcsContent`, a mapping ``{"type", "body"}``, or a text (sent as ``TEXT``), which
            has at most 1,024 characters (FAQ).
        template_id: a stored RCS template; exactly one of it and body must be given.
        campaign_id, message_id, simulation: as in `Sms`.
        enable_notification: whether delivery and read callbacks are wanted.
        max_sms_parts: the most parts an SMS fallback may take.
        placeholders: as in `Sms`, over all texts of the content. Guess: the send page is cut before it.
        scheduled_date: as in `Sms`. Named for this endpoint by a use case only.
        fallback_sms: the SMS instead, a `FallbackSms` or a mapping. Guess: the send page is cut before it.
    """

    channel: ClassVar[Channel] = Channel.RCS

    agent_id: int
    body: RcsContent | Mapping[str, Any] | str | None = None
    template_id: int | None = None
    max_sms_parts: int | None = None
    fallback_sms: FallbackSms | Mapping[str, Any] | None = None

    def _check_content(self) -> None:
        rules.check_int(self.agent_id, "agent_id")
        if self.max_sms_parts is not None:
            rules.check_int(self.max_sms_parts, "max_sms_parts")
        content = _fix_content(self)
        sms = _fix_part(self, "fallback_sms", FallbackSms)
        rules.check_placeholders(_texts(content, sms), self.placeholders, stored=content is None)
        self._check_rendered(content, "body", sms)


class WhatsApp(_Envelope, frozen=True, kw_only=True):
    """A WhatsApp message to one recipient (``POST /message-server/whatsapp/send``). Raises ``InvalidMessageError``.

    Attributes:
        destination: as in `Sms`.
        phone_number_id: ``id`` of the sending number in the list of phone numbers.
        template: an approved template: a `WhatsAppTemplate`, a mapping of its fields, or its id; exactly one of it and
            body must be given.
        body: free-form content, for 24 hours from the customer's last message: a text of up to 4,096 characters (FAQ),
            or an object, whose fields are undocumented and pass as they are.
        campaign_id, message_id, simulation: as in `Sms`.
        enable_notification: as in `Sms`. Guess: the send page is cut before it.
        placeholders: as in `Sms`; with a template they are its values and are not checked. A tracked link is the
            placeholder ``shortLinkT1`` with the real URL as its value.
        scheduled_date: as in `Sms`. Named for this endpoint by a use case only.
        fallback_rcs: ``True`` (FAQ), or a `FallbackRcs` or a mapping of its fields, which needs fallback_sms too.
        fallback_sms: a `FallbackSms` or a mapping. That it holds ``sender`` and ``text`` is a guess from RCS templates.
    """

    channel: ClassVar[Channel] = Channel.WHATSAPP

    phone_number_id: int
    template: WhatsAppTemplate | Mapping[str, Any] | int | None = None
    body: Mapping[str, Any] | str | None = None
    fallback_rcs: FallbackRcs | Mapping[str, Any] | bool | None = None
    fallback_sms: FallbackSms | Mapping[str, Any] | None = None

    def _check_content(self) -> None:
        rules.check_int(self.phone_number_id, "phone_number_id")
        self._fix_body()
        sms = _fix_part(self, "fallback_sms", FallbackSms)
        rcs = self._fix_fallback_rcs(sms)
        content = rcs.body if rcs is not None and isinstance(rcs.body, RcsContent) else None
        stored = self.template is not None or (rcs is not None and content is None)
        rules.check_placeholders([*rules.strings(self.body), *_texts(content, sms)], self.placeholders, stored=stored)
        if isinstance(self.body, str):
            rules.check_text(rules.render(self.body, self.placeholders), "body", _WHATSAPP_TEXT_LIMIT)
        self._check_rendered(content, "fallback_rcs.body", sms)

    def _fix_body(self) -> None:
        _check_one_of(self.body, self.template, "template")
        if type(self.template) is int:
            rules.check_int(self.template, "template")
            force_setattr(self, "template", WhatsAppTemplate(id=self.template))
        _fix_part(self, "template", WhatsAppTemplate)
        if isinstance(self.body, Mapping):
            force_setattr(self, "body", rules.object_copy(self.body, "body"))
        elif self.body is not None:
            rules.check_text(self.body, "body")

    def _fix_fallback_rcs(self, sms: FallbackSms | None) -> FallbackRcs | None:
        if self.fallback_rcs is False:
            force_setattr(self, "fallback_rcs", None)
        if self.fallback_rcs is True:
            return None
        rcs = _fix_part(self, "fallback_rcs", FallbackRcs)
        if rcs is not None and sms is None:
            raise InvalidMessageError("is required with an object as fallback_rcs", field="fallback_sms")
        return rcs


Message: TypeAlias = Sms | Rcs | WhatsApp
"""A message of any channel."""


def fix_message_id(message: Message, new_id: Callable[[], str]) -> str:
    """Give the message's id, minting it for good if it has none yet.

    The id is the handle by which a send is looked up and repeated: it must be fixed before the first attempt. What
    `new_id` mints must be fit for a status query, as a caller's own ids are checked to be.
    """
    if message.message_id is None:
        minted = new_id()
        force_setattr(message, "message_id", minted)
        return minted
    return message.message_id


def build(cls: type[_T], given: Mapping[str, Any]) -> _T:
    """Make a message, or an object within one, from a mapping of its fields, in snake_case or in the API's camelCase.

    Raises:
        InvalidMessageError: a field is unknown, missing, given in both spellings, or wrong.
    """
    names, required = _schema(cls)
    fields: dict[str, Any] = {}
    for name, value in given.items():
        field = names.get(name)
        if field is None:
            shown = rules.field_name(name)
            raise InvalidMessageError(f"{'is' if shown else 'a name is'} no field of {cls.__name__}", field=shown)
        if field in fields:
            raise InvalidMessageError("is given twice", field=field)
        fields[field] = value
    for field in required:
        if field not in fields:
            raise InvalidMessageError("is missing", field=field)
    return cls(**fields)


@cache
def _schema(cls: type[msgspec.Struct]) -> tuple[dict[str, str], tuple[str, ...]]:
    fields = msgspec.structs.fields(cls)
    names = {field.name: field.name for field in fields} | {field.encode_name: field.name for field in fields}
    return names, tuple(field.name for field in fields if field.required)


def _fix_part(owner: msgspec.Struct, name: str, cls: type[_T]) -> _T | None:
    value = getattr(owner, name)
    if value is None or isinstance(value, cls):
        return value
    if not isinstance(value, Mapping):
        by_id = "an id, " if cls is WhatsAppTemplate else ""
        raise InvalidMessageError(f"must be {by_id}a {cls.__name__} or a mapping of its fields", field=name)
    try:
        part = build(cls, value)
    except InvalidMessageError as error:
        raise InvalidMessageError(error.reason, field=f"{name}.{error.field}" if error.field else name) from None
    force_setattr(owner, name, part)
    return part


def _fix_content(owner: Rcs | FallbackRcs) -> RcsContent | None:
    _check_one_of(owner.body, owner.template_id, "template_id")
    if owner.template_id is not None:
        rules.check_int(owner.template_id, "template_id")
        return None
    if isinstance(owner.body, str):
        rules.check_text(owner.body, "body")
        force_setattr(owner, "body", RcsContent(type="TEXT", body={"text": owner.body}))
    return _fix_part(owner, "body", RcsContent)


def _texts(content: RcsContent | None, sms: FallbackSms | None) -> list[str]:
    texts = [] if content is None else list(rules.strings(content.body))
    return texts if sms is None else [*texts, sms.text]


def _check_one_of(body: object, template: object, template_field: str) -> None:
    if (body is None) == (template is None):
        raise InvalidMessageError(f"give either body or {template_field}", field="body")
