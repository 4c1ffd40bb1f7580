"""The inbox of the platform: conversations, their messages, and who may look after them.

The API pages name what these hold in prose (``api/inbox``, ``api/get-conversation``, ``api/get-messages``); which names
the fields have is a guess but for ``chatId``, ``userId`` and ``lastMessageDate``, and each may be missing. ``raw``
always has the whole object.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from .record import Id, Record

__all__ = ["AssignableUser", "Conversation", "InboxMessage"]

_INBOUND = frozenset({"INBOUND", "IN", "INCOMING", "RECEIVED"})


class AssignableUser(Record, frozen=True, kw_only=True):
    """A user of the account to whom conversations can be assigned. Its ``repr`` shows the id only.

    Attributes:
        id: ``userId``; ``""`` if the answer named none.
        display_name: their name.
        avatar_url: of a picture, if there is one.
    """

    aliases: ClassVar[dict[str, tuple[str, ...]]] = {"id": ("userId",), "display_name": ("name", "fullName")}

    id: Id = ""
    display_name: str | None = None
    avatar_url: str | None = None


class Conversation(Record, frozen=True, kw_only=True):
    """A conversation with one customer on one channel. Its ``repr`` shows id and channel only.

    Attributes:
        id: ``chatId``; ``""`` if the answer named none.
        channel: the channel, where it is a word of its own.
        channel_id: of the account's channel, as ``channelIds`` filters by.
        customer: the customer's number.
        last_message_date: as given: what ``orderBy`` sorts by.
        last_message: the preview, as given: a text or an object.
        unread_count: messages nobody has read.
        assignee: who looks after it, where the answer has them.
        assignee_id: likewise, where it has their id only.
        archived: whether it was archived.
    """

    aliases: ClassVar[dict[str, tuple[str, ...]]] = {
        "id": ("chatId", "conversationId"),
        "channel": ("channelType",),
        "customer": ("phoneNumber", "contactNumber", "source"),
        "last_message": ("lastMessagePreview", "preview"),
        "unread_count": ("unreadCounter", "unreadMessages", "unread"),
        "assignee_id": ("assigneeUserId", "assignee"),
        "archived": ("isArchived",),
    }
    shown: ClassVar[tuple[str, ...]] = ("id", "channel")

    id: Id = ""
    channel: str | None = None
    channel_id: Id = ""
    customer: str | None = None
    last_message_date: str | None = None
    last_message: Any = None
    unread_count: int | None = None
    assignee: AssignableUser | None = None
    assignee_id: Id = ""
    archived: bool | None = None


class InboxMessage(Record, frozen=True, kw_only=True):
    """A message of a conversation. Its ``repr`` shows id and direction only.

    Attributes:
        id: the inbox's own, by which ``id_from`` and ``id_to`` choose; ``""`` if the answer named none.
        message_id: ``messageId``, as callbacks and sends have it, where the answer names it (a guess).
        direction: inbound or outbound, as given.
        timestamp: as given.
        content: as given: a text, or an object of type, text and media (UC-026's shape in callbacks).
        delivery_status: of outbound ones, as given.
    """

    aliases: ClassVar[dict[str, tuple[str, ...]]] = {
        "timestamp": ("date", "createdAt", "receivedDate", "eventDate"),
        "content": ("text", "body"),
        "delivery_status": ("status",),
    }
    shown: ClassVar[tuple[str, ...]] = ("id", "direction")

    id: Id = ""
    message_id: str | None = None
    direction: str | None = None
    timestamp: str | None = None
    content: Any = None
    delivery_status: str | None = None

    @property
    def is_inbound(self) -> bool:
        """Whether the customer wrote it. The words of ``direction`` are not shown: several are known."""
        return (self.direction or "").upper() in _INBOUND

    @property
    def text(self) -> str:
        """The text of the content, or the caption of its media; empty if there is none."""
        if isinstance(self.content, str):
            return self.content
        content = self.content if isinstance(self.content, Mapping) else {}
        texts = [content.get(name) for name in ("text", "caption")]
        return next((text for text in texts if isinstance(text, str)), "")
