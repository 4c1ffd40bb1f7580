"""What each endpoint answers. Pure of HTTP machinery: a call goes in, a `Reply` comes out.

An endpoint is in two steps, so that faults can strike between them: `check` says what is wrong with a call or prepares
its processing, and processing happens when the prepared function is called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import msgspec

from ..clock import Clock
from ..models.channel import Channel
from ..protocol.operations.legacy import GET_LEGACY_CREDIT, SEND_LEGACY
from ..protocol.operations.messages import (
    GET_STATUSES,
    GET_WEBHOOK,
    SEND_RCS,
    SEND_SMS,
    SEND_WHATSAPP,
    WebhookBody,
)
from .answers import Reply, problem, reply
from .callbacks import Courier
from .faults import Route
from .gateway import Gateway
from .keys import KeyCabinet
from .legacy import read_legacy, take_legacy
from .openapi import document
from .requests import Problem, read_send
from .resources.platform import Platform
from .resources.router import Match

__all__ = ["Call", "Endpoint", "Endpoints", "Prepared"]

_STATUS = f"/api{GET_STATUSES.path}"
_FILES = "/exports/"


class Endpoint(msgspec.Struct, frozen=True):
    """A path of the API: its route, the methods it takes, and what the path says.

    ``public`` is what needs no key and counts against no limit: the document of the API, and the ``file`` of a link.
    """

    route: Route
    methods: tuple[str, ...]
    channel: Channel | None = None
    message_id: str | None = None
    resource: Match | None = None
    public: bool = False
    file: str | None = None

    def __repr__(self) -> str:
        return f"Endpoint({self.route})"


class Call(msgspec.Struct, kw_only=True):
    """A request, read. ``subject`` is what may be logged of it: an id, or a number of ids."""

    endpoint: Endpoint
    method: str
    query: Mapping[str, str]
    body: bytes
    content_type: str = "application/json"
    subject: str = "-"

    def __repr__(self) -> str:
        return f"Call({self.method}, {self.endpoint.route})"


class Prepared(msgspec.Struct, frozen=True):
    """A good call, ready to be processed: call ``process`` with the seconds the status API shall not know of it."""

    process: Callable[[float], Reply]
    destinations: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return "Prepared()"


_DOCUMENT = Endpoint("platform", ("GET",), public=True)
_FIXED = {
    f"/api{SEND_SMS.path}": Endpoint("send", ("POST",), Channel.SMS),
    f"/api{SEND_RCS.path}": Endpoint("send", ("POST",), Channel.RCS),
    f"/api{SEND_WHATSAPP.path}": Endpoint("send", ("POST",), Channel.WHATSAPP),
    _STATUS: Endpoint("status", ("GET",)),
    f"/api{GET_WEBHOOK.path}": Endpoint("webhooks", ("GET", "POST", "PUT", "DELETE")),
    f"/api{SEND_LEGACY.path}": Endpoint("send", ("POST",)),
    f"/api{GET_LEGACY_CREDIT.path}": Endpoint("credit", ("GET",)),
    "/openapi.json": _DOCUMENT,
    "/api/openapi.json": _DOCUMENT,
}


class Endpoints:
    """The documented endpoints over the gateway's state."""

    def __init__(self, gateway: Gateway, courier: Courier, clock: Clock, keys: KeyCabinet) -> None:
        self._gateway = gateway
        self._courier = courier
        self._clock = clock
        self._registration: dict[str, str] | None = None
        self.platform = Platform(clock, gateway, keys)

    def find(self, method: str, raw_path: str) -> Endpoint | None:
        """Find the endpoint of a path as it came over the wire, without its query."""
        fixed = _FIXED.get(raw_path)
        if fixed is not None:
            return fixed
        if raw_path.startswith(f"{_STATUS}/") and len(raw_path) > len(_STATUS) + 1:
            return Endpoint("status", ("GET",), None, unquote(raw_path[len(_STATUS) + 1 :]))
        if raw_path.startswith(_FILES):
            return Endpoint("platform", ("GET",), public=True, file=raw_path[len(_FILES) :])
        found = self.platform.router.find(method, raw_path)
        if isinstance(found, Match):
            return Endpoint("platform", (method,), resource=found)
        return Endpoint("platform", found) if found else None

    def check(self, call: Call) -> Prepared | Reply:
        """Check a call; return its processing, or the error it is answered with."""
        if call.endpoint.route == "send":
            return self._check_legacy(call) if call.endpoint.channel is None else self._check_send(call)
        if call.endpoint.route == "credit":
            return Prepared(lambda _: reply(200, {"credit": self._gateway.credit}))
        if call.endpoint.route == "status":
            return self._check_status(call)
        if call.endpoint.route == "platform":
            return self._check_platform(call)
        return self._check_webhook(call)

    def register(self, url: str | None) -> None:
        """Set the callback URL, or take it away."""
        if url is None:
            self._registration = None
        else:
            created = datetime.fromtimestamp(self._clock.time(), UTC).isoformat(timespec="seconds")
            self._registration = {
                "id": f"wh-{uuid4().hex[:8]}",
                "callbackUrl": url,
                "status": "ACTIVE",
                "createdAt": created.replace("+00:00", "Z"),
            }
        self._courier.url = url

    def _check_send(self, call: Call) -> Prepared | Reply:
        channel = call.endpoint.channel or Channel.SMS
        request = read_send(channel, call.body)
        if isinstance(request, Problem):
            return problem(request.status, request.message)
        refusal = self.platform.refusal(request)
        if refusal is not None:
            return problem(422, refusal)

        def process(hidden: float) -> Reply:
            answer = self._gateway.take(channel, request, call.body, hidden=hidden)
            call.subject = answer["messageId"]
            return reply(200, answer)

        call.subject = request.message_id or "-"
        return Prepared(process, (request.destination,))

    def _check_legacy(self, call: Call) -> Prepared | Reply:
        request = read_legacy(call.body)
        if isinstance(request, Reply):
            return request
        call.subject = f"{len(request.destinations)} messages"
        return Prepared(lambda hidden: take_legacy(self._gateway, request, call.body, hidden), request.destinations)

    def _check_status(self, call: Call) -> Prepared | Reply:
        channel = Channel.__members__.get(call.query.get("channel", ""))
        if channel is None:
            return problem(400, "Parameter `channel` must be SMS, RCS or WHATSAPP")
        message_id = call.endpoint.message_id
        if message_id is not None:
            call.subject = message_id
            return Prepared(lambda _: self._single(channel, message_id))
        ids = [item for item in call.query.get("ids", "").split(",") if item]
        if not ids:
            return problem(400, "Parameter `ids` is required")
        call.subject = f"{len(ids)} ids"
        return Prepared(lambda _: reply(200, self._gateway.look_up(channel, ids)))

    def _single(self, channel: Channel, message_id: str) -> Reply:
        found = self._gateway.look_up(channel, [message_id])
        return reply(200, found[0]) if found else problem(404, "No such message on this channel")

    def _check_platform(self, call: Call) -> Prepared | Reply:
        match, file = call.endpoint.resource, call.endpoint.file
        if file is not None:
            return Prepared(lambda _: self.platform.exports.file(file))
        if match is None:
            return Prepared(lambda _: reply(200, document()))
        call.subject = match.operation.id
        request = self.platform.check(match, call.query, call.body, call.content_type)
        if isinstance(request, Reply):
            return request
        return Prepared(lambda _: self.platform.process(match, request))

    def _check_webhook(self, call: Call) -> Prepared | Reply:
        if call.method in {"GET", "DELETE"}:
            return Prepared(lambda _: self._show_or_revoke(call.method))
        url = _callback_url(call.body)
        if url is None:
            return problem(400, "Field `callbackUrl` must be an HTTPS URL")
        return Prepared(lambda _: self._register(call.method, url))

    def _show_or_revoke(self, method: str) -> Reply:
        if self._registration is None:
            return problem(404, "No webhook configured")
        if method == "GET":
            return reply(200, self._registration)
        self.register(None)
        return Reply(status=204)

    def _register(self, method: str, url: str) -> Reply:
        if method == "POST" and self._registration is not None:
            return problem(409, "Webhook already configured")
        if method == "PUT" and self._registration is None:
            return problem(404, "No webhook configured")
        self.register(url)
        return reply(201 if method == "POST" else 200, self._registration)


def _callback_url(body: bytes) -> str | None:
    """Read a registration; plain HTTP passes on loopback only, where the real gateway could not call anyway."""
    try:
        url = msgspec.json.decode(body, type=WebhookBody).callback_url
        parts = urlsplit(url)
        host = parts.hostname or ""
    except (msgspec.DecodeError, ValueError):
        return None
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))):
        return None
    return url


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
