"""``client.inbox``: the conversations with customers (``/partner-gateway/v1/inbox/conversations``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from functools import partial
from typing import Any

from ..models.inbox import AssignableUser, Conversation, InboxMessage
from ..models.record import Id
from ..protocol.operations.inbox import (
    ARCHIVE,
    ASSIGN,
    ASSIGNABLE_USERS,
    GET_CONVERSATION,
    LIST_CONVERSATIONS,
    LIST_MESSAGES,
    MARK_READ,
    REPLY,
    UNARCHIVE,
    UNASSIGN,
    AssigneeBody,
    ConversationQuery,
    MessageQuery,
    ReplyBody,
)
from ..protocol.paging import IdWalk
from ..protocol.parameters import several
from .api import Api
from .listing import Listing

__all__ = ["Inbox"]


class Inbox:
    """Conversations: list, get, messages, reply, read, archive, assign. Which fields they have is a guess."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def conversations(
        self,
        *,
        date_from: date | None = None,
        channel_ids: Iterable[Id] | None = None,
        unread_only: bool | None = None,
        order_by: str | None = None,
        limit: int | None = None,
    ) -> Listing[Conversation]:
        """List conversations: ``GET /partner-gateway/v1/inbox/conversations`` (documented; its envelope is not).

        No page or limit is documented: the list is taken to come whole.

        Args:
            date_from: the earliest day of the last message. The page calls it an ISO date; that it is compared with
                the last message is a guess.
            channel_ids: only these channels of the account.
            unread_only: only those with unread messages.
            order_by: a field with ``-`` before it for the latest first, ``+`` for the earliest, as
                ``-lastMessageDate``.
            limit: at most so many.

        Raises:
            ConfigurationError: an argument does not fit. Iterating raises as a `Listing` does.
        """
        query = ConversationQuery(
            date_from=date_from, channel_ids=several(channel_ids), unread_only=unread_only, order_by=order_by
        )
        return self._api.list(LIST_CONVERSATIONS, Conversation, query=query, limit=limit)

    async def get(self, chat_id: Id) -> Conversation:
        """Return one conversation: ``GET /partner-gateway/v1/inbox/conversations/{chatId}``.

        Raises:
            NotFoundError: there is no such conversation, or it is not yours.
            UndecodableAnswerError: the answer is no object.
        """
        return await self._api.get(GET_CONVERSATION, Conversation, path={"chatId": chat_id})

    def messages(
        self, chat_id: Id, *, id_from: int | None = None, id_to: int | None = None, limit: int | None = None
    ) -> Listing[InboxMessage]:
        """List the messages of a conversation, oldest first: ``GET …/conversations/{chatId}/messages``.

        Documented but for envelope and fields. Whether an answer may be cut is not said, so it is asked for what comes
        after the last id until nothing does.

        Args:
            chat_id: of the conversation.
            id_from: the lowest id, included.
            id_to: the highest id, included.
            limit: at most so many.

        Raises:
            ConfigurationError: an argument does not fit. Iterating raises as a `Listing` does, and ``NotFoundError``
                if there is no such conversation.
        """
        query = MessageQuery(id_from=id_from, id_to=id_to)
        walk = partial(IdWalk, id_from, id_to)
        return self._api.list(
            LIST_MESSAGES, InboxMessage, path={"chatId": chat_id}, query=query, limit=limit, walk=walk
        )

    async def reply(self, chat_id: Id, content: str, *, more: Mapping[str, Any] | None = None) -> InboxMessage:
        """Answer in a conversation: ``POST /partner-gateway/v1/inbox/conversations/reply``.

        The page shows no field of the body: ``chatId`` and ``content`` are guesses. It is accepted (202) and may fail
        later: on WhatsApp once the customer has not written for 24 hours. Neither the suppression list nor the window
        are asked, as both are about numbers; and no id of yours goes with it, so that it is not repeated after an
        ambiguous end and cannot be looked up. In a handler, ``ctx.reply`` has all that.

        Args:
            chat_id: of the conversation.
            content: the text.
            more: further fields of the body (undocumented).

        Returns:
            What the answer says of the reply; nothing but ``raw`` may be in it.

        Raises:
            NotSentError: the client is in test mode, which this endpoint does not know.
            NotFoundError: there is no such conversation. BadRequestError: the content is wrong.
        """
        self._api.refuse_in_test_mode("a reply")
        return await self._api.change(REPLY, InboxMessage, body=ReplyBody(chat_id=chat_id, content=content), more=more)

    async def mark_read(self, chat_id: Id) -> None:
        """Mark a conversation as read: ``PATCH …/{chatId}/read``, which may be repeated.

        Raises:
            NotFoundError: there is no such conversation.
        """
        await self._api.call(MARK_READ, path={"chatId": chat_id})

    async def archive(self, chat_id: Id) -> None:
        """Archive a conversation: ``PATCH …/{chatId}/archive``. Nothing is deleted.

        Raises:
            NotFoundError: there is no such conversation.
        """
        await self._api.call(ARCHIVE, path={"chatId": chat_id})

    async def unarchive(self, chat_id: Id) -> None:
        """Take a conversation out of the archive: ``PATCH …/{chatId}/unarchive``.

        A use case names it; it has no page of its own.

        Raises:
            NotFoundError: there is no such conversation.
        """
        await self._api.call(UNARCHIVE, path={"chatId": chat_id})

    async def assign(self, chat_id: Id, user_id: Id) -> None:
        """Assign a conversation to a user, instead of whoever had it: ``POST …/{chatId}/assignee``.

        Args:
            chat_id: of the conversation.
            user_id: of the same company: see `assignable_users`.

        Raises:
            NotFoundError: there is no such conversation. BadRequestError: there is no such user.
        """
        await self._api.call(ASSIGN, path={"chatId": chat_id}, body=AssigneeBody(user_id=user_id))

    async def unassign(self, chat_id: Id) -> None:
        """Take a conversation from its assignee, if it has one: ``DELETE …/{chatId}/assignee``.

        Raises:
            NotFoundError: there is no such conversation.
        """
        await self._api.call(UNASSIGN, path={"chatId": chat_id})

    def assignable_users(self, *, limit: int | None = None) -> Listing[AssignableUser]:
        """List to whom conversations can be assigned: ``GET …/conversations/assignable-users``.

        Args:
            limit: at most so many.

        Raises:
            ConfigurationError: `limit` does not fit.
            BadGatewayError: while iterating: the gateway's own list of users cannot be reached.
        """
        return self._api.list(ASSIGNABLE_USERS, AssignableUser, limit=limit)
