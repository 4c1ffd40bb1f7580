"""RCS templates: what is sent to create one, and what the gateway answers.

Fields are those of the guide "RCS templates", in snake_case. Its lists of words are cut: they are completed by those of
Google's RBM, which the words it shows belong to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import msgspec
from msgspec import Meta

from ..errors import ConfigurationError
from .channel import Channel
from .message import FallbackSms
from .record import Id, Record
from .variables import URL, Variables, variables_in

__all__ = [
    "RcsCard",
    "RcsCardContent",
    "RcsCarouselContent",
    "RcsFormContent",
    "RcsMedia",
    "RcsSuggestion",
    "RcsTemplateContent",
    "RcsTemplateInfo",
    "RcsTextContent",
]

_NonEmpty = Annotated[str, Meta(min_length=1)]


class _Content(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class _Link(_Content, frozen=True, kw_only=True):
    url: Annotated[str, Meta(pattern=URL)]


class _Dial(_Content, frozen=True, kw_only=True):
    phone_number: Annotated[str, Meta(pattern=r"^\+?[0-9]{3,15}$")]


class RcsSuggestion(_Content, frozen=True, kw_only=True):
    """A button below a text or a card. The guide advises 1 to 4 of them, with labels below 25 characters.

    Attributes:
        type: what it does. All but a reply have an object of that name.
        text: its label; optional by an older page.
        url: ``{"url": …}``; see `link`.
        dial: ``{"phoneNumber": …}``; see `call`.
        coordinates: its members are undocumented, as are those of the next two.
        location: see coordinates.
        calendar: see coordinates.

    Raises:
        ConfigurationError: the object that goes with the type is missing, or there is another.
    """

    type: Literal["reply", "url", "dial", "coordinates", "location", "calendar"]
    text: _NonEmpty | None = None
    url: _Link | None = None
    dial: _Dial | None = None
    coordinates: Mapping[str, Any] | None = None
    location: Mapping[str, Any] | None = None
    calendar: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        objects = ("url", "dial", "coordinates", "location", "calendar")
        given = [name for name in objects if getattr(self, name) is not None]
        if given != [name for name in objects if name == self.type]:
            raise ConfigurationError("a suggestion has one object, named as its type is; a reply has none")

    @classmethod
    def reply(cls, text: str) -> RcsSuggestion:
        """Make a button that answers with its text."""
        return cls(type="reply", text=text)

    @classmethod
    def link(cls, text: str, url: str) -> RcsSuggestion:
        """Make a button that opens a URL."""
        return cls(type="url", text=text, url=_Link(url=url))

    @classmethod
    def call(cls, text: str, phone_number: str) -> RcsSuggestion:
        """Make a button that calls a number."""
        return cls(type="dial", text=text, dial=_Dial(phone_number=phone_number))

    def __repr__(self) -> str:
        return f"RcsSuggestion(type={self.type!r})"


class RcsMedia(_Content, frozen=True, kw_only=True):
    """The picture of a card.

    Attributes:
        file_url: a public HTTPS URL, such as that of a file in the media library; JPEG or PNG, at least 1,440 px wide.
        height: how much of the card it takes.
    """

    file_url: Annotated[str, Meta(pattern=URL.replace("https?", "https"))]
    height: Literal["SHORT", "MEDIUM", "TALL"]


class RcsCard(_Content, frozen=True, kw_only=True):
    """A card.

    Attributes:
        title: above the description.
        description: the text.
        media: its picture.
        suggestions: its buttons.
    """

    title: _NonEmpty | None = None
    description: _NonEmpty | None = None
    media: RcsMedia | None = None
    suggestions: Sequence[RcsSuggestion] = ()


class RcsTextContent(_Content, frozen=True, kw_only=True):
    """A ``TEXT``.

    Attributes:
        text: with ``{name}`` where values go.
        suggestions: buttons.
        fallback_sms: the SMS instead; the API wants both its fields.
    """

    type: ClassVar[Literal["TEXT"]] = "TEXT"

    text: _NonEmpty
    suggestions: Sequence[RcsSuggestion] = ()
    fallback_sms: FallbackSms | None = None


class RcsCardContent(_Content, frozen=True, kw_only=True):
    """A ``CARD``.

    Attributes:
        card: the card.
        card_orientation: whether the picture is above the text or beside it.
        thumbnail_alignment: on which side it is, beside the text.
        fallback_sms: the SMS instead.
    """

    type: ClassVar[Literal["CARD"]] = "CARD"

    card: RcsCard
    card_orientation: Literal["VERTICAL", "HORIZONTAL"]
    thumbnail_alignment: Literal["LEFT", "RIGHT"] | None = None
    fallback_sms: FallbackSms | None = None


class RcsCarouselContent(_Content, frozen=True, kw_only=True):
    """A ``CAROUSEL``.

    Attributes:
        cards: 2 to 10.
        card_width: of each.
        fallback_sms: the SMS instead. Guess: the guide is cut before it.
    """

    type: ClassVar[Literal["CAROUSEL"]] = "CAROUSEL"

    cards: Annotated[Sequence[RcsCard], Meta(min_length=2, max_length=10)]
    card_width: Literal["SMALL", "MEDIUM"]
    fallback_sms: FallbackSms | None = None


class RcsFormContent(_Content, frozen=True, kw_only=True):
    """A ``FORM``, which the FAQ names and no page describes.

    Attributes:
        content: sent as it is given.
    """

    type: ClassVar[Literal["FORM"]] = "FORM"

    content: Mapping[str, Any]


RcsTemplateContent: TypeAlias = RcsTextContent | RcsCardContent | RcsCarouselContent | RcsFormContent
"""What a template shows."""


class RcsTemplateInfo(Record, frozen=True, kw_only=True):
    """A template as the gateway has it. No page shows one: the fields are those it was created with.

    Attributes:
        id: what a message refers to it by (``template_id``); ``""`` if the answer named none.
        name: its name.
        description: what it is for.
        type: ``TEXT``, ``CARD``, ``CAROUSEL``, or another word.
        body: its content, by the API's own names.
    """

    aliases: ClassVar[dict[str, tuple[str, ...]]] = {"id": ("templateId",)}
    shown: ClassVar[tuple[str, ...]] = ("id", "name", "type")
    channel: ClassVar[Channel] = Channel.RCS

    id: Id = ""
    name: str | None = None
    description: str | None = None
    type: str | None = None
    body: dict[str, Any] | None = None

    @property
    def variables(self) -> Variables | None:
        """What it leaves open, its fallback included; ``None`` if its content is not known."""
        return None if self.body is None else variables_in([self.body])
