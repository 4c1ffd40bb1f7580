"""What aiohttp's failure of an attempt is: our error, without headers and URLs, and whether anything had left."""

from __future__ import annotations

import aiohttp

from .errors import ConnectionFailed, RequestTimeout, Sent, TransportError
from .models.options import Timeouts
from .protocol.requests import Request

__all__ = ["failure_elsewhere", "failure_of", "opening_seconds", "sent_when"]

# aiohttp's counter of bytes written is exact for a body handed over in a single write, which it is below this size: a
# larger one, torn down half-way, may count too little. Sends are far smaller.
_SINGLE_WRITE = 64 * 1024


def opening_seconds(timeouts: Timeouts, *, proxied: bool) -> float:
    """How long opening a connection may take; through a proxy that answers, and speaks TLS with the gateway."""
    return timeouts.connect + timeouts.read if proxied else timeouts.connect


def failure_of(
    error: BaseException,
    request: Request,
    tracker: aiohttp.UploadTracker,
    timeouts: Timeouts,
    host: str,
    *,
    proxied: bool,
) -> TransportError:
    """Make our error of what an attempt at the gateway, which is at `host`, raised."""
    sent = sent_when(error, request, tracker)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return RequestTimeout(
            f"no connection to {host} within {opening_seconds(timeouts, proxied=proxied):g} s",
            phase="connect",
            sent=sent,
            message_id=request.message_id,
        )
    if isinstance(error, TimeoutError):
        return RequestTimeout(
            f"{host} did not answer within {timeouts.read:g} s",
            phase="read",
            sent=sent,
            message_id=request.message_id,
        )
    return ConnectionFailed(_what_failed(error, host), sent=sent, message_id=request.message_id)


def sent_when(error: BaseException, request: Request, tracker: aiohttp.UploadTracker) -> Sent:
    """Say whether anything of the request's body may have left when `error` came."""
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError | aiohttp.InvalidURL):
        return "no"
    if request.body and len(request.body) < _SINGLE_WRITE and tracker.bytes_written == 0:
        return "no"
    return "maybe"


def failure_elsewhere(error: BaseException, host: str) -> TransportError:
    """Make our error of a failure at another host than the gateway's, which is named by what it is."""
    if isinstance(error, TimeoutError):
        return RequestTimeout(f"{host} did not answer in time", phase="read", sent="maybe")
    return ConnectionFailed(_what_failed(error, host), sent="maybe")


def _what_failed(error: BaseException, host: str) -> str:
    """Say it without the error's own words, which may hold a URL."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return f"the TLS certificate or handshake of {host} was not accepted"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"no connection to {host}: its name does not resolve"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"no connection to {host}: {error.os_error.strerror or type(error.os_error).__name__}"
    if isinstance(error, aiohttp.ClientPayloadError):
        return f"the answer of {host} broke off"
    return f"the connection to {host} failed ({type(error).__name__})"
