"""The inbox of the sandbox: conversations with whoever wrote, and the answers to them."""

from __future__ import annotations

from itertools import count
from typing import Any

from ...clock import Clock
from ...models.channel import Channel
from ...protocol.operations import inbox as operations
from ..answers import Reply, reply
from .request import Handlers, Refused, ResourceRequest, numeric
from .times import iso

__all__ = ["InboxBook"]

_NO_CONTENT = Reply(status=204)


class InboxBook:
    """Conversations, one for each customer, channel and number of ours; names of fields are guesses.

    Attributes:
        conversations: by id, as they are answered.
        messages: of each conversation, by its id, oldest first.
        users: those to whom conversations can be assigned, as they are answered.
        tells_message_ids: whether a message has the ``messageId`` of its callback. No page says so.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ids = count(1)
        self._by_number: dict[tuple[Channel, str, str], int] = {}
        self.conversations: dict[int, dict[str, Any]] = {}
        self.messages: dict[int, list[dict[str, Any]]] = {}
        self.users: list[dict[str, Any]] = [{"userId": 1, "displayName": "Sandbox", "avatarUrl": None}]
        self.tells_message_ids = True

    def handlers(self) -> Handlers:
        """What this area serves."""
        return {
            operations.LIST_CONVERSATIONS: self._list,
            operations.GET_CONVERSATION: self._get,
            operations.LIST_MESSAGES: self._messages,
            operations.REPLY: self._reply,
            operations.MARK_READ: self._mark_read,
            operations.ARCHIVE: self._archive,
            operations.UNARCHIVE: self._unarchive,
            operations.ASSIGN: self._assign,
            operations.UNASSIGN: self._unassign,
            operations.ASSIGNABLE_USERS: lambda _: reply(200, self.users),
        }

    def receive(
        self,
        channel: Channel,
        source: str,
        destination: str,
        content: dict[str, Any],
        message_id: str,
        occurred: float,
    ) -> None:
        """Take in what a customer wrote; one that has come before stays once."""
        key = (channel, source, destination)
        chat_id = self._by_number.get(key)
        if chat_id is None:
            chat_id = self._by_number[key] = next(self._ids)
            self.messages[chat_id] = []
            self.conversations[chat_id] = {
                "chatId": chat_id,
                "channel": channel.value,
                "channelId": list(Channel).index(channel) + 1,
                "phoneNumber": source,
                "unreadCount": 0,
                "assignee": None,
                "archived": False,
            }
        if any(message.get("messageId") == message_id for message in self.messages[chat_id]):
            return
        self._append(
            chat_id,
            {
                "messageId": message_id,
                "direction": "INBOUND",
                "source": source,
                "destination": destination,
                "content": content,
            },
            occurred,
        )
        self.conversations[chat_id]["unreadCount"] += 1

    def _append(self, chat_id: int, message: dict[str, Any], occurred: float) -> dict[str, Any]:
        message = {"id": next(self._ids), **message, "timestamp": iso(occurred)}
        self.messages[chat_id].append(message)
        content = message["content"]
        shown = content.get("text") or content.get("caption") or content["type"]
        self.conversations[chat_id] |= {"lastMessageDate": message["timestamp"], "lastMessage": shown}
        return message

    def _list(self, request: ResourceRequest) -> Reply:
        query: operations.ConversationQuery = request.query
        found = [item for item in self.conversations.values() if _fits(item, query)]
        order = query.order_by or "-lastMessageDate"
        name = order.lstrip("+-")
        found.sort(key=lambda item: (str(item.get(name) or ""), item["chatId"]), reverse=order.startswith("-"))
        return reply(200, found)

    def _get(self, request: ResourceRequest) -> Reply:
        return reply(200, self._known(numeric(request, "chatId")))

    def _known(self, chat_id: int) -> dict[str, Any]:
        if chat_id not in self.conversations:
            raise Refused(404, "No such conversation")
        return self.conversations[chat_id]

    def _messages(self, request: ResourceRequest) -> Reply:
        chat_id = self._known(numeric(request, "chatId"))["chatId"]
        query: operations.MessageQuery = request.query
        found = [
            message
            for message in self.messages[chat_id]
            if (query.id_from is None or message["id"] >= query.id_from)
            and (query.id_to is None or message["id"] <= query.id_to)
        ]
        return reply(200, [self._shown(message) for message in found])

    def _shown(self, message: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in message.items() if name != "messageId" or self.tells_message_ids}

    def _reply(self, request: ResourceRequest) -> Reply:
        body: operations.ReplyBody = request.body
        chat_id = int(body.chat_id) if str(body.chat_id).isdigit() else 0
        conversation = self._known(chat_id)
        content = {"type": "TEXT", "text": body.content}
        outbound = {"direction": "OUTBOUND", "destination": conversation["phoneNumber"], "content": content}
        return reply(202, self._append(chat_id, {**outbound, "deliveryStatus": "SENT"}, self._clock.time()))

    def _change(self, request: ResourceRequest, **changes: Any) -> Reply:
        conversation = self._known(numeric(request, "chatId"))
        conversation |= changes
        return _NO_CONTENT

    def _mark_read(self, request: ResourceRequest) -> Reply:
        return self._change(request, unreadCount=0)

    def _archive(self, request: ResourceRequest) -> Reply:
        return self._change(request, archived=True)

    def _unarchive(self, request: ResourceRequest) -> Reply:
        return self._change(request, archived=False)

    def _assign(self, request: ResourceRequest) -> Reply:
        self._known(numeric(request, "chatId"))
        wanted = str(request.body.user_id)
        user = next((user for user in self.users if str(user["userId"]) == wanted), None)
        if user is None:
            raise Refused(400, "Field `userId` names no user of the company")
        return self._change(request, assignee=user)

    def _unassign(self, request: ResourceRequest) -> Reply:
        return self._change(request, assignee=None)


def _fits(item: dict[str, Any], query: operations.ConversationQuery) -> bool:
    if query.date_from is not None and item["lastMessageDate"] < query.date_from.isoformat():
        return False
    if query.channel_ids is not None and str(item["channelId"]) not in map(str, query.channel_ids):
        return False
    return not query.unread_only or item["unreadCount"] > 0
