"""What is asked of the gateway: each operation as a `Request`, ready to be put on the wire.

A request is built once and its bytes are the same on every attempt. Paths are those of the API pages, below a base
URL that ends in ``/api``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Literal
from urllib.parse import quote, unquote, urlencode, urlsplit

import msgspec

from ..errors import ConfigurationError
from ..models.channel import Channel
from ..models.message import Message
from .encoding import encode_message
from .redaction import scrub

__all__ = [
    "CALLBACK_PATH",
    "REPEATABLE",
    "SAFE",
    "SEND_PATHS",
    "STATUS_PATH",
    "Request",
    "callback_request",
    "check_base_url",
    "check_callback_url",
    "raw_request",
    "send_request",
    "status_request",
    "statuses_requests",
]

SEND_PATHS = {
    Channel.SMS: "/message-server/sms/send",
    Channel.RCS: "/message-server/rcs/send",
    Channel.WHATSAPP: "/message-server/whatsapp/send",
}
STATUS_PATH = "/partner-gateway/v1/messages/status"
CALLBACK_PATH = "/partner-gateway/v1/webhooks/delivery-status"

# The API sets no hard cap on `ids` and advises "a few hundred"; proxies answer 414 from about 8,000 characters.
_MAX_IDS = 200
_MAX_QUERY_CHARACTERS = 6_000

# RFC 9110 §9.2.1 and §9.2.2: methods that only read, and those that may be repeated.
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
REPEATABLE = SAFE | {"PUT", "DELETE"}


class Request(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One operation.

    Attributes:
        method: the HTTP method, in upper case.
        path: below the base URL, percent-encoded.
        query: percent-encoded, without the question mark.
        body: the bytes to send, if any.
        content_type: of the body.
        message_id: the message it sends, if it is a send.
        shown_as: what logs show for the path, where it holds a secret.
        repeatable: whether repeating it after an ambiguous end does no harm (RFC 9110 §9.2.2: idempotent methods).
    """

    method: str
    path: str
    query: str = ""
    body: bytes | None = None
    content_type: str = "application/json"
    message_id: str | None = None
    repeatable: bool = False
    shown_as: str = ""

    @property
    def shown_path(self) -> str:
        """The path as logs may show it: a path of the caller's own may hold a number or a key."""
        return self.shown_as or (self.path if self.message_id is not None else scrub(unquote(self.path)))

    def __repr__(self) -> str:
        return f"Request({self.method} {self.shown_path}, message_id={self.message_id!r})"


def send_request(message: Message) -> Request:
    """Build the send of `message`, whose ``message_id`` must be fixed (`fix_message_id`)."""
    return Request(
        method="POST", path=SEND_PATHS[message.channel], body=encode_message(message), message_id=message.message_id
    )


def status_request(message_id: str, channel: Channel) -> Request:
    """Build ``GET /messages/status/{customerMessageId}?channel=…``; the id can never change the path."""
    if not isinstance(message_id, str) or message_id in {"", ".", ".."}:
        raise ConfigurationError("a message id is needed to ask for a status")
    return Request(
        method="GET",
        path=f"{STATUS_PATH}/{quote(message_id, safe='')}",
        query=f"channel={channel.value}",
        repeatable=True,
    )


def statuses_requests(
    message_ids: Iterable[str], channel: Channel, *, also: Collection[str] = ()
) -> Iterator[tuple[list[str], Request]]:
    """Build ``GET /messages/status?ids=a,b&channel=…``, as many as the ids need; yields the ids of each with it.

    Args:
        message_ids: any number; each is asked for once.
        channel: the channel they were sent on.
        also: a few ids to ask for in every request.
    """
    if isinstance(message_ids, str):
        raise ConfigurationError("give several ids, or ask for the status of one")
    for batch in _batches(message_ids, also):
        ids = ",".join(quote(message_id, safe="") for message_id in batch)
        yield (
            batch,
            Request(method="GET", path=STATUS_PATH, query=f"ids={ids}&channel={channel.value}", repeatable=True),
        )


def _batches(message_ids: Iterable[str], also: Collection[str]) -> Iterator[list[str]]:
    start = list(dict.fromkeys(also))
    start_size = sum(map(_query_size, start))
    batch, size = list(start), start_size
    for message_id in dict.fromkeys(message_ids):
        if message_id in start:
            continue
        added = _query_size(message_id)
        if len(batch) > len(start) and (len(batch) >= _MAX_IDS or size + added > _MAX_QUERY_CHARACTERS):
            yield batch
            batch, size = list(start), start_size
        batch.append(message_id)
        size += added
    if len(batch) > len(start):
        yield batch


def _query_size(message_id: str) -> int:
    if not isinstance(message_id, str) or not message_id or "," in message_id:
        raise ConfigurationError("status queries separate ids by commas: an id is a str, not empty and without one")
    return len(quote(message_id, safe="")) + 1


def callback_request(method: Literal["GET", "POST", "PUT", "DELETE"], callback_url: str | None = None) -> Request:
    """Build an operation on ``/webhooks/delivery-status``; POST and PUT carry `callback_url`.

    Raises:
        ConfigurationError: the URL is not HTTPS (plain HTTP is taken on loopback only, for the sandbox).
    """
    body = None
    if callback_url is not None:
        check_callback_url(callback_url)
        body = msgspec.json.encode({"callbackUrl": callback_url})
    return Request(method=method, path=CALLBACK_PATH, body=body, repeatable=method != "POST")


def raw_request(
    method: str,
    path: str,
    *,
    params: Mapping[str, str | int | float | bool] | None = None,
    json: Any = None,
    body: bytes | None = None,
    content_type: str | None = None,
) -> Request:
    """Build a request the package has no name for.

    Raises:
        ConfigurationError: `path` is not an absolute path below the base URL, or both `json` and `body` are given.
    """
    if not path.startswith("/") or path.startswith("//") or "?" in path or "#" in path or "\\" in path:
        raise ConfigurationError("path must start with one slash and hold no query: give params instead")
    if any(segment in {".", ".."} for segment in path.lower().replace("%2e", ".").split("/")):
        raise ConfigurationError("path must not hold '.' or '..' segments")
    if json is not None and body is not None:
        raise ConfigurationError("give json or body, not both")
    method = method.upper()
    return Request(
        method=method,
        path=quote(path, safe="/%:@!$&'()*+,;=~"),
        query=urlencode({key: _parameter(value) for key, value in (params or {}).items()}),
        body=msgspec.json.encode(json) if json is not None else body,
        content_type=content_type or "application/json",
        repeatable=method in REPEATABLE,
    )


def _parameter(value: str | float | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def check_base_url(base_url: str) -> str:
    """Return `base_url` without its trailing slash.

    Raises:
        ConfigurationError: it is not HTTPS (the gateway takes nothing else; plain HTTP is taken on loopback only).
    """
    _check_secure(base_url, "base_url")
    parts = urlsplit(base_url)
    if parts.query or parts.fragment or parts.username is not None:
        raise ConfigurationError("base_url must have no user name, query or fragment; it ends in /api")
    return base_url.rstrip("/")


def check_callback_url(url: str) -> None:
    """Raise ``ConfigurationError`` if a callback URL is not HTTPS (plain HTTP is taken on loopback only)."""
    _check_secure(url, "the callback URL")


def _check_secure(url: str, what: str) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname
        parts.port  # noqa: B018 — reading it is what validates it
    except ValueError:
        raise ConfigurationError(f"{what} is not a URL") from None
    if not host or parts.scheme not in {"http", "https"}:
        raise ConfigurationError(f"{what} must be an absolute https:// URL")
    if parts.scheme == "http" and not _is_loopback(host):
        raise ConfigurationError(f"{what} must be https:// (http:// is taken on loopback only)")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
