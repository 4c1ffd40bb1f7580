"""Sending, delivery status and the callback registration."""

from __future__ import annotations

from typing import Any

import msgspec

from ...models.channel import Channel
from ..parameters import Comma
from ..requests import CALLBACK_PATH, SEND_PATHS, STATUS_PATH
from .operation import Operation

__all__ = [
    "GET_STATUS",
    "GET_STATUSES",
    "GET_WEBHOOK",
    "OPERATIONS",
    "REGISTER_WEBHOOK",
    "REVOKE_WEBHOOK",
    "SEND_RCS",
    "SEND_SMS",
    "SEND_WHATSAPP",
    "UPDATE_WEBHOOK",
    "RcsBody",
    "SendBody",
    "SmsBody",
    "WebhookBody",
    "WhatsAppBody",
]


class SendBody(msgspec.Struct, kw_only=True, rename="camel"):
    """The fields of every channel."""

    destination: str
    campaign_id: str | None = None
    message_id: str | None = None
    simulation: bool = False
    enable_notification: bool = True
    placeholders: dict[str, str] | None = None
    scheduled_date: str | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}(message_id={self.message_id!r})"

    def __rich_repr__(self) -> Any:
        yield "message_id", self.message_id


class SmsBody(SendBody, kw_only=True, rename="camel"):
    """``POST /message-server/sms/send``."""

    sender: str
    body: str
    udh_data: str | None = None
    skip_rcs_override: bool = False


class RcsBody(SendBody, kw_only=True, rename="camel"):
    """``POST /message-server/rcs/send``."""

    agent_id: int
    body: dict[str, Any] | None = None
    template_id: int | None = None
    max_sms_parts: int | None = None
    fallback_sms: bool | dict[str, Any] | None = None


class WhatsAppBody(SendBody, kw_only=True, rename="camel"):
    """``POST /message-server/whatsapp/send``; ``body`` as a string and the fallbacks as booleans are the FAQ's."""

    phone_number_id: int
    body: str | dict[str, Any] | None = None
    template: dict[str, Any] | None = None
    fallback_rcs: bool | dict[str, Any] | None = None
    fallback_sms: bool | dict[str, Any] | None = None


class SendResult(msgspec.Struct, kw_only=True, rename="camel"):
    """What one channel said."""

    accepted: bool
    unicode: bool | None = None
    parts: int | None = None
    reasons: list[str] = []


class SendAnswer(msgspec.Struct, kw_only=True, rename="camel"):
    """The answer to a send, one result for each channel tried."""

    message_id: str
    simulation: bool
    results: dict[str, SendResult]


class StatusQuery(msgspec.Struct, kw_only=True, rename="camel"):
    """``GET /messages/status/{customerMessageId}``: the channel it was sent on."""

    channel: Channel


class StatusesQuery(msgspec.Struct, kw_only=True, rename="camel"):
    """``GET /messages/status``: ids of one channel."""

    ids: Comma
    channel: Channel


class DeliveryStatusResponse(msgspec.Struct, kw_only=True, rename="camel"):
    """The status of a message; further fields are implied and not named."""

    customer_message_id: str
    delivery_status: str
    delivery_status_description: str | None = None


class WebhookBody(msgspec.Struct, kw_only=True, rename="camel"):
    """The callback to register. Its path may hold a secret: it is not in ``repr``."""

    callback_url: str

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class WebhookAnswer(msgspec.Struct, kw_only=True, rename="camel"):
    """The registered callback (fields of a use case)."""

    callback_url: str
    id: str | None = None
    status: str | None = None
    created_at: str | None = None


_REFUSALS = "422 is the FAQ's, and which rule is a 400 and which a 422 is a guess"

SEND_SMS = Operation(
    id="sms.send",
    method="POST",
    path=SEND_PATHS[Channel.SMS],
    summary="Send an SMS",
    source="qlara/api-sms-universal/send-sms",
    body=SmsBody,
    answer=SendAnswer,
    errors=(400, 422),
    guess=_REFUSALS,
)
SEND_RCS = Operation(
    id="rcs.send",
    method="POST",
    path=SEND_PATHS[Channel.RCS],
    summary="Send an RCS message",
    source="qlara/api-rcs-send/send-rcs-message",
    body=RcsBody,
    answer=SendAnswer,
    errors=(400, 422),
    guess=_REFUSALS,
)
SEND_WHATSAPP = Operation(
    id="whatsapp.send",
    method="POST",
    path=SEND_PATHS[Channel.WHATSAPP],
    summary="Send a WhatsApp message",
    source="qlara/api-whatsapp/send-whats-app-message",
    body=WhatsAppBody,
    answer=SendAnswer,
    errors=(400, 422),
    guess=_REFUSALS,
)
GET_STATUS = Operation(
    id="messages.status",
    method="GET",
    path=f"{STATUS_PATH}/{{customerMessageId}}",
    summary="Read the status of a message",
    source="qlara/it/api/get-single-status",
    query=StatusQuery,
    answer=DeliveryStatusResponse,
    errors=(404,),
)
GET_STATUSES = Operation(
    id="messages.statuses",
    method="GET",
    path=STATUS_PATH,
    summary="Read the statuses of several messages; those unknown are left out",
    source="qlara/it/api/get-batch-status",
    query=StatusesQuery,
    answer=list[DeliveryStatusResponse],
    errors=(500,),
)
GET_WEBHOOK = Operation(
    id="webhooks.get",
    method="GET",
    path=CALLBACK_PATH,
    summary="Read the registered callback",
    source="qlara/it/api/get-delivery-status-webhook",
    answer=WebhookAnswer,
    errors=(404, 500),
)
REGISTER_WEBHOOK = Operation(
    id="webhooks.register",
    method="POST",
    path=CALLBACK_PATH,
    summary="Register the callback",
    source="qlara/api/configure-delivery-status-webhook",
    body=WebhookBody,
    answer=WebhookAnswer,
    success=201,
    errors=(400, 409, 500),
)
UPDATE_WEBHOOK = Operation(
    id="webhooks.update",
    method="PUT",
    path=CALLBACK_PATH,
    summary="Replace the registered callback",
    source="qlara/it/api/update-delivery-status-webhook",
    body=WebhookBody,
    answer=WebhookAnswer,
    errors=(400, 404, 500),
)
REVOKE_WEBHOOK = Operation(
    id="webhooks.revoke",
    method="DELETE",
    path=CALLBACK_PATH,
    summary="Remove the registered callback",
    source="qlara/it/api/revoke-delivery-status-webhook",
    success=204,
    errors=(404, 500),
)

OPERATIONS = (
    SEND_SMS,
    SEND_RCS,
    SEND_WHATSAPP,
    GET_STATUS,
    GET_STATUSES,
    GET_WEBHOOK,
    REGISTER_WEBHOOK,
    UPDATE_WEBHOOK,
    REVOKE_WEBHOOK,
)
