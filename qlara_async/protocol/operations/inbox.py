"""Conversations of the inbox (API tag "Inbox")."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from msgspec import Meta

from ...models.inbox import AssignableUser, Conversation, InboxMessage
from ..parameters import Comma, Fields
from .operation import Operation

__all__ = [
    "ARCHIVE",
    "ASSIGN",
    "ASSIGNABLE_USERS",
    "GET_CONVERSATION",
    "LIST_CONVERSATIONS",
    "LIST_MESSAGES",
    "MARK_READ",
    "OPERATIONS",
    "REPLY",
    "UNARCHIVE",
    "UNASSIGN",
    "AssigneeBody",
    "ConversationQuery",
    "MessageQuery",
    "ReplyBody",
]

NonEmpty = Annotated[str, Meta(min_length=1)]
_CONVERSATIONS = "/partner-gateway/v1/inbox/conversations"
_ONE = f"{_CONVERSATIONS}/{{chatId}}"
_FIELDS = "the names of the fields are not shown"


class ConversationQuery(Fields, kw_only=True):
    """``GET …/inbox/conversations`` (``it/api/get-conversations``): no page or limit is mentioned."""

    date_from: date | None = None
    channel_ids: Comma | None = None
    unread_only: bool | None = None
    order_by: str | None = None


class MessageQuery(Fields, kw_only=True):
    """``GET …/{chatId}/messages`` (``it/api/get-messages``): both ids are included."""

    id_from: int | None = None
    id_to: int | None = None


class ReplyBody(Fields, kw_only=True):
    """``POST …/reply`` (``api/send-reply``): the page names a conversation's id and content, and no field."""

    chat_id: int | str
    content: NonEmpty


class AssigneeBody(Fields, kw_only=True):
    """``POST …/{chatId}/assignee`` (``api/assign-conversation``)."""

    user_id: int | str


LIST_CONVERSATIONS = Operation(
    id="inbox.conversations",
    method="GET",
    path=_CONVERSATIONS,
    summary="List conversations",
    source="qlara/it/api/get-conversations",
    query=ConversationQuery,
    answer=list[Conversation],
    guess=f"the envelope is not shown; {_FIELDS}; that dateFrom is a date, and compared with lastMessageDate",
)
GET_CONVERSATION = Operation(
    id="inbox.get",
    method="GET",
    path=_ONE,
    summary="Read a conversation",
    source="qlara/api/get-conversation",
    answer=Conversation,
    errors=(404,),
    guess=_FIELDS,
)
LIST_MESSAGES = Operation(
    id="inbox.messages",
    method="GET",
    path=f"{_ONE}/messages",
    summary="List the messages of a conversation, oldest first",
    source="qlara/it/api/get-messages",
    query=MessageQuery,
    answer=list[InboxMessage],
    errors=(404,),
    guess=f"the envelope is not shown; {_FIELDS}",
)
REPLY = Operation(
    id="inbox.reply",
    method="POST",
    path=f"{_CONVERSATIONS}/reply",
    summary="Answer in a conversation",
    source="qlara/api/send-reply",
    body=ReplyBody,
    answer=InboxMessage,
    success=202,
    errors=(400, 404),
    guess="the fields of the body and the answer are not shown",
)
MARK_READ = Operation(
    id="inbox.mark_read",
    method="PATCH",
    path=f"{_ONE}/read",
    summary="Mark a conversation as read",
    source="qlara/api/mark-as-read",
    success=204,
    errors=(404,),
    idempotent=True,
)
ARCHIVE = Operation(
    id="inbox.archive",
    method="PATCH",
    path=f"{_ONE}/archive",
    summary="Archive a conversation; nothing is deleted",
    source="qlara/api/archive-conversation",
    success=204,
    errors=(404,),
)
UNARCHIVE = Operation(
    id="inbox.unarchive",
    method="PATCH",
    path=f"{_ONE}/unarchive",
    summary="Take a conversation out of the archive",
    source="qlara/use-cases/UC-018-manage-inbox",
    success=204,
    errors=(404,),
    guess="it has no page of its own: its statuses are those of archiving",
)
ASSIGN = Operation(
    id="inbox.assign",
    method="POST",
    path=f"{_ONE}/assignee",
    summary="Assign a conversation to a user, instead of whoever had it",
    source="qlara/api/assign-conversation",
    body=AssigneeBody,
    success=204,
    errors=(400, 404),
    guess="that repeating it does no harm: it replaces",
    idempotent=True,
)
UNASSIGN = Operation(
    id="inbox.unassign",
    method="DELETE",
    path=f"{_ONE}/assignee",
    summary="Take a conversation from its assignee, if it has one",
    source="qlara/api/unassign-conversation",
    success=204,
    errors=(404,),
)
ASSIGNABLE_USERS = Operation(
    id="inbox.assignable_users",
    method="GET",
    path=f"{_CONVERSATIONS}/assignable-users",
    summary="List the users to whom conversations can be assigned",
    source="qlara/api/list-assignable-users",
    answer=list[AssignableUser],
    errors=(502,),
    guess=_FIELDS,
)

OPERATIONS = (
    LIST_CONVERSATIONS,
    GET_CONVERSATION,
    LIST_MESSAGES,
    REPLY,
    MARK_READ,
    ARCHIVE,
    UNARCHIVE,
    ASSIGN,
    UNASSIGN,
    ASSIGNABLE_USERS,
)
