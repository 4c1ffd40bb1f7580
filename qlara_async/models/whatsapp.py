"""WhatsApp templates and phone numbers: what is sent to create one, and what the gateway answers.

The fields of a template to create are documented in full (guide "WhatsApp templates"); of what is answered only an item
of the list is shown, by a use case. ``raw`` always has the whole object.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from ..errors import ConfigurationError
from .channel import Channel
from .record import Id, Record
from .variables import TRACKED_LINK, URL, Variables, variables_in

__all__ = [
    "TemplateButton",
    "TemplateCategory",
    "TemplateStatus",
    "WhatsAppPhoneNumber",
    "WhatsAppTemplateDraft",
    "WhatsAppTemplateInfo",
]


class TemplateStatus(StrEnum):
    """Where a template is in Meta's review. The list of the page is cut: there may be others."""

    APPROVED = "APPROVED"
    PENDING = "PENDING"
    REJECTED = "REJECTED"


class TemplateCategory(StrEnum):
    """What a template is for."""

    MARKETING = "MARKETING"
    UTILITY = "UTILITY"
    AUTHENTICATION = "AUTHENTICATION"


class TemplateButton(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A button below a template. The page ends before it shows one.

    A link's ``type``, ``text`` and ``url`` are those of a use case's list; the rest is Meta's own, a guess here.

    Attributes:
        type: ``URL``, ``QUICK_REPLY``, ``PHONE_NUMBER``, or another word of Meta's.
        text: what stands on it.
        url: where it leads; may hold ``{name}``.
        phone_number: whom it calls.
    """

    type: Annotated[str, Meta(min_length=1)]
    text: Annotated[str, Meta(min_length=1)] | None = None
    url: Annotated[str, Meta(pattern=URL)] | None = None
    phone_number: Annotated[str, Meta(pattern=r"^\+?[0-9]{3,15}$")] | None = None

    @classmethod
    def link(cls, text: str, url: str) -> TemplateButton:
        """Make a button that opens a URL."""
        return cls(type="URL", text=text, url=url)

    @classmethod
    def reply(cls, text: str) -> TemplateButton:
        """Make a button that answers with its text."""
        return cls(type="QUICK_REPLY", text=text)

    @classmethod
    def call(cls, text: str, phone_number: str) -> TemplateButton:
        """Make a button that calls a number."""
        return cls(type="PHONE_NUMBER", text=text, phone_number=phone_number)

    def __repr__(self) -> str:
        return f"TemplateButton(type={self.type!r})"


class WhatsAppTemplateDraft(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A template to be created. Its fields are those of the guide, in snake_case.

    How the fields fit together is checked here, what each must be when the template is created, before the request.

    Attributes:
        name: lower-case letters, digits and ``_``.
        lang: the language, such as ``it``, ``en`` or ``en_US``. Templates are listed with it as ``language``.
        category: a `TemplateCategory`.
        body: the text, with ``{name}`` where values go.
        header_text: a text above it; excludes the next two.
        header_format: ``IMAGE``, ``VIDEO`` or ``DOCUMENT`` above it.
        header_media_url: an example of those media. That both are needed is a guess.
        footer: a text below it.
        buttons: below everything.
        placeholder_fields: defines tracked links; see `tracked_links`. What else it may hold is undocumented.
        track_button_links: count clicks on the buttons' URLs.

    Raises:
        ConfigurationError: two headers or half of one; a tracked link is used and not defined, or the other way round.
    """

    name: Annotated[str, Meta(pattern="^[a-z0-9_]+$")]
    lang: Annotated[str, Meta(pattern="^[A-Za-z]{2,3}([_-][A-Za-z0-9]+)*$")]
    category: TemplateCategory
    body: Annotated[str, Meta(min_length=1)]
    header_text: Annotated[str, Meta(min_length=1)] | None = None
    header_format: Literal["IMAGE", "VIDEO", "DOCUMENT"] | None = None
    header_media_url: Annotated[str, Meta(pattern=URL)] | None = None
    footer: Annotated[str, Meta(min_length=1)] | None = None
    buttons: Sequence[TemplateButton] = ()
    placeholder_fields: Mapping[str, Any] | None = None
    track_button_links: bool = False

    def __post_init__(self) -> None:
        if self.header_text is not None and (self.header_format or self.header_media_url) is not None:
            raise ConfigurationError("a template has header_text, or header_format and header_media_url")
        if (self.header_format is None) != (self.header_media_url is None):
            raise ConfigurationError("header_format and header_media_url go together")
        self._check_tracked_links()

    def _check_tracked_links(self) -> None:
        used = {name for name in self.variables.names if TRACKED_LINK.fullmatch(name)}
        defined = {name for name in self.placeholder_fields or () if TRACKED_LINK.fullmatch(name)}
        for name in sorted(used - defined):
            raise ConfigurationError(f"the template uses {{{name}}}, and placeholder_fields does not define it")
        for name in sorted(defined - used):
            raise ConfigurationError(f"placeholder_fields defines {name}, and the template does not use it")

    @property
    def variables(self) -> Variables:
        """What it leaves open."""
        urls = [button.url for button in self.buttons if isinstance(button, TemplateButton)]
        return variables_in([self.header_text, self.body, self.footer, *urls])

    def __repr__(self) -> str:
        return f"WhatsAppTemplateDraft(name={self.name!r}, lang={self.lang!r})"


class WhatsAppTemplateInfo(Record, frozen=True, kw_only=True):
    """A template as the gateway has it.

    The first five fields and `components` are those of a use case's list; the others, those it was created with, are a
    guess.

    Attributes:
        id: what a message refers to it by; ``""`` if the answer named none.
        name: its name.
        language: its language.
        category: one of `TemplateCategory`, or another word.
        status: one of `TemplateStatus`, or another word.
        components: Meta's: ``{"type": "BODY", "text": "Ciao {{1}}"}`` …
        body: the text it was created with.
        header_text: likewise.
        header_format: likewise.
        header_media_url: likewise.
        footer: likewise.
        buttons: likewise.
    """

    aliases: ClassVar[dict[str, tuple[str, ...]]] = {"id": ("templateId",), "language": ("lang",)}
    shown: ClassVar[tuple[str, ...]] = ("id", "name", "language", "status")
    channel: ClassVar[Channel] = Channel.WHATSAPP

    id: Id = ""
    name: str | None = None
    language: str | None = None
    category: str | None = None
    status: str | None = None
    components: tuple[dict[str, Any], ...] = ()
    body: str | None = None
    header_text: str | None = None
    header_format: str | None = None
    header_media_url: str | None = None
    footer: str | None = None
    buttons: tuple[dict[str, Any], ...] = ()

    @property
    def is_approved(self) -> bool:
        """Whether it can be sent."""
        return (self.status or "").upper() == TemplateStatus.APPROVED

    @property
    def variables(self) -> Variables | None:
        """What it leaves open; ``None`` if no text of it is known."""
        if self.body is not None:
            return variables_in([self.header_text, self.body, self.footer, *self.buttons])
        if not self.components:
            return None
        return variables_in(text for component in self.components for text in _texts(component))


def _texts(component: dict[str, Any]) -> Iterator[object]:
    """Yield what counts its variables for itself: a component's text, and each button's URL. Examples are neither."""
    yield component.get("text")
    buttons = component.get("buttons")
    for button in buttons if isinstance(buttons, list) else ():
        if isinstance(button, dict):
            yield button.get("url")


class WhatsAppPhoneNumber(Record, frozen=True, kw_only=True):
    """A number of the account. Only `id` is documented; the other fields are those of a use case.

    Attributes:
        id: what messages and templates have as ``phone_number_id``; ``""`` if the answer named none.
        phone_number: in international format.
        display_name: what the account calls it.
        verified_name: what customers see.
        quality_rating: such as ``GREEN`` or ``UNKNOWN``.
        status: such as ``ACTIVE`` or ``PENDING``.
        messaging_limit: such as ``TIER_1K`` or ``TIER_10K``.
        platform: such as ``CLOUD_API``.
    """

    aliases: ClassVar[dict[str, tuple[str, ...]]] = {"id": ("phoneNumberId",)}
    shown: ClassVar[tuple[str, ...]] = ("id", "status")

    id: Id = ""
    phone_number: str | None = None
    display_name: str | None = None
    verified_name: str | None = None
    quality_rating: str | None = None
    status: str | None = None
    messaging_limit: str | None = None
    platform: str | None = None
