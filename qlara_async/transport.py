"""The wire: the only module that opens a client session.

One `Transport` owns one ``aiohttp.ClientSession``, made at first use and bound to that event loop. `exchange` puts one
request on the wire once: it neither waits for the limiter nor repeats anything.
"""

from __future__ import annotations

import asyncio
import base64
import ssl as ssl_module
import warnings
from typing import TYPE_CHECKING

import aiohttp
from aiohttp.abc import AbstractResolver
from multidict import CIMultiDict
from yarl import URL

from .attempt_failures import failure_elsewhere, failure_of, opening_seconds, sent_when
from .errors import (
    ClientClosedError,
    ClientStateError,
    ConfigurationError,
    ConnectionFailed,
    TransferError,
    TransportError,
    WrongEventLoopError,
)
from .models.options import Timeouts
from .protocol.requests import REPEATABLE, Request, check_base_url, check_callback_url
from .protocol.responses import Response
from .read_deadlines import ReadDeadlines
from .single_attempt import ONCE

if TYPE_CHECKING:
    from .transfers.download import Sink
    from .transfers.upload import Upload

__all__ = ["Credentials", "Transport"]

# Of a download, written at once.
_CHUNK = 128 * 1024


class Credentials:
    """An API key (``X-Api-Key``), or a user name and password (Basic, RFC 7617). Never shown.

    Attributes:
        header: the header's name and value.
        secrets: what must not be shown of it.
    """

    __slots__ = ("header", "secrets")

    def __init__(self, header: tuple[str, str], *secrets: str) -> None:
        self.header = header
        self.secrets = secrets

    @classmethod
    def of_key(cls, api_key: str) -> Credentials:
        """Take a key. Raises ``ConfigurationError`` if it cannot be one."""
        if not isinstance(api_key, str) or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
            raise ConfigurationError("api_key must be printable ASCII without spaces")
        if not api_key:
            raise ConfigurationError("api_key is empty")
        return cls(("X-Api-Key", api_key), api_key)

    @classmethod
    def of_user(cls, username: str, password: str) -> Credentials:
        """Take a user name and password. Raises ``ConfigurationError`` if Basic cannot carry the name."""
        if not username or ":" in username:
            raise ConfigurationError("the user name of basic_auth must not be empty or hold a colon")
        token = base64.b64encode(f"{username}:{password}".encode()).decode()
        return cls(("Authorization", f"Basic {token}"), password, token)

    def __repr__(self) -> str:
        return f"Credentials({self.header[0]})"


class Transport:
    """A connection pool to one base URL.

    Args:
        base_url: up to and with ``/api``.
        credentials: sent with every request, until `authenticate` is given others.
        user_agent: the ``User-Agent``.
        session: a session of the caller's, used as it is and never closed here.
        connector: a connector of the caller's, likewise.
        connections: the most connections of our own pool; 0 for as many as there are requests in flight.
        proxy: a proxy URL.
        ssl: a TLS context.
        resolver: resolves the hosts of download links, whose addresses are then checked; for tests.
    """

    def __init__(
        self,
        base_url: str,
        credentials: Credentials,
        *,
        user_agent: str,
        session: aiohttp.ClientSession | None = None,
        connector: aiohttp.BaseConnector | None = None,
        connections: int = 0,
        proxy: str | None = None,
        ssl: ssl_module.SSLContext | None = None,
        resolver: AbstractResolver | None = None,
    ) -> None:
        if session is not None and connector is not None:
            raise ConfigurationError("give session or connector, not both")
        self._base = check_base_url(base_url)
        self._host = URL(self._base).authority
        self._connections = connections
        name, value = credentials.header
        self._headers = CIMultiDict({name: value, "User-Agent": user_agent, "Accept": "application/json"})
        # Defaults of a session of ours; a session of the caller's gets them with each request.
        self._request_headers = None if session is None else self._headers
        self._send_urls: dict[str, URL] = {}
        self._given_session = session
        self._connector = connector
        self._proxy = proxy
        self._resolver = resolver
        self._ssl: ssl_module.SSLContext | bool = True if ssl is None else ssl
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._timeouts = Timeouts()
        self._swept_timeout, self._plain_timeout = _client_timeouts(self._timeouts, proxy is not None)
        self._deadlines = ReadDeadlines()
        self._turns = _LoopTurns()

    @property
    def closed(self) -> bool:
        """Whether `aclose` was called."""
        return self._closed

    def open(self) -> aiohttp.ClientSession:
        """Return the session, making it at first use.

        Raises:
            ClientClosedError: after `aclose`.
            WrongEventLoopError: the session belongs to another event loop.
        """
        return self._session_on(asyncio.get_running_loop())

    def _session_on(self, loop: asyncio.AbstractEventLoop) -> aiohttp.ClientSession:
        if self._closed:
            raise ClientClosedError("this client was closed; make a new one")
        if self._session is None:
            self._loop = loop
            self._session = self._given_session or self._new_session()
        elif self._loop is not loop:
            raise WrongEventLoopError(
                "this client started on another event loop; make one client per loop (asyncio.run starts a new loop)"
            )
        return self._session

    def _new_session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=self._connector or aiohttp.TCPConnector(limit=self._connections),
            connector_owner=self._connector is None,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._headers,
        )

    def authenticate(self, credentials: Credentials) -> None:
        """Send other credentials, of the same kind, with every request from now on."""
        name, value = credentials.header
        self._headers[name] = value
        if self._session is not None and self._request_headers is None:
            self._session.headers[name] = value

    async def aclose(self) -> None:
        """Close the session and its connections; without effect the second time."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None and session is not self._given_session:
            await session.close()

    def __del__(self) -> None:
        session = getattr(self, "_session", None)
        if session is None or session is self._given_session or session.closed:
            return
        warnings.warn(
            "a QlaraClient was never closed: use `async with`, or await aclose()",
            ResourceWarning,
            stacklevel=1,
            source=self,
        )

    async def exchange(
        self, request: Request, timeouts: Timeouts, *, upload: Upload | None = None, sink: Sink | None = None
    ) -> Response:
        """Make one attempt: put `request` on the wire and read the whole answer, whatever its status.

        An `upload` goes as its body; a 2xx answer goes into `sink`, and is empty then.

        Redirects are not followed. A request that is idempotent by HTTP (GET, PUT, DELETE) aiohttp itself repeats
        once when its connection breaks, unless it is not ``repeatable``.

        Raises:
            ConnectionFailed: the connection could not be opened, or broke.
            RequestTimeout: a time-out of `timeouts`. Waiting for a pooled connection has none, but through a proxy.
            ClientClosedError, WrongEventLoopError: see `open`.
            TransferError: the upload cannot be read, or the sink does not take the answer.
        """
        task = asyncio.current_task()
        if task is None:
            raise ClientStateError("a client works inside an asyncio task")
        loop = task.get_loop()  # to ask for the running one costs a system call on Python 3.11
        session = self._session_on(loop)
        size = None if upload is None else await upload.size()
        cancellations = task.cancelling()
        tracker = aiohttp.UploadTracker()
        if request.body or upload is not None:
            self._deadlines.watch(task, tracker, timeouts.read)
        try:
            if upload is not None:
                return await self._upload(session, request, timeouts, tracker, upload, size)
            return await self._answer(session, request, timeouts, tracker, sink, loop)
        except asyncio.CancelledError as error:
            if not self._deadlines.caused_cancellation(task):
                if task.cancelling() > cancellations:
                    raise
                caught: BaseException = error  # aiohttp gave the request up: its connector was closed
            else:
                caught = TimeoutError()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if task.cancelling() > cancellations:
                raise asyncio.CancelledError from None  # it fell into the failure, and is still the caller's
            caught = error
        finally:
            self._deadlines.forget(task)
        if upload is not None and upload.failure is not None:
            raise upload.failure
        # Raised out here, because what aiohttp raised holds headers and URLs: it must not be our error's context.
        raise self._failure(caught, request, tracker, timeouts)

    async def _answer(
        self,
        session: aiohttp.ClientSession,
        request: Request,
        timeouts: Timeouts,
        tracker: aiohttp.UploadTracker,
        sink: Sink | None,
        loop: asyncio.AbstractEventLoop,
    ) -> Response:
        body = request.body
        turn = self._turns.begin(loop)
        answer = await session.request(
            request.method,
            self._url(request),
            data=body and aiohttp.BytesPayload(body, content_type=request.content_type),
            headers=self._request_headers,
            timeout=self._client_timeout(timeouts, swept=bool(body)),
            allow_redirects=False,
            raise_for_status=False,
            proxy=self._proxy,
            ssl=self._ssl,
            upload_tracker=tracker,
            middlewares=None if request.repeatable or request.method not in REPEATABLE else ONCE,
        )
        try:
            _check_it_was_asked(len(body or b""), tracker, loop_turned=self._turns.count > turn)
            if body:
                return Response(answer.status, answer.headers, await answer.read())
            if sink is not None and 200 <= answer.status < 300:
                await sink.take(answer.headers, answer.content.iter_chunked(_CHUNK))
                return Response(answer.status, answer.headers, b"")
            # The session's own time-out is for silence: a trickle has no end.
            async with asyncio.timeout(timeouts.read):
                return Response(answer.status, answer.headers, await answer.read())
        except BaseException:
            answer.close()
            raise

    async def _upload(
        self,
        session: aiohttp.ClientSession,
        request: Request,
        timeouts: Timeouts,
        tracker: aiohttp.UploadTracker,
        upload: Upload,
        size: int | None,
    ) -> Response:
        headers = CIMultiDict(self._request_headers or {})
        if size is not None:
            headers["Content-Length"] = str(size)
        async with session.request(
            request.method,
            self._url(request),
            data=aiohttp.AsyncIterablePayload(upload.chunks(), content_type=upload.content_type),
            headers=headers,
            timeout=self._client_timeout(timeouts, swept=True),
            allow_redirects=False,
            raise_for_status=False,
            proxy=self._proxy,
            ssl=self._ssl,
            upload_tracker=tracker,
        ) as answer:
            if answer.status < 300 and size is not None:
                _check_it_was_asked(size, tracker, loop_turned=True)  # a refusal may come before the whole has left
            return Response(answer.status, answer.headers, await answer.read())

    async def follow(self, link: str, sink: Sink, timeouts: Timeouts) -> None:
        """Download a link of the gateway's, which may be on any public host: without credentials or redirects.

        Its address is checked after resolution. Through a proxy that is the proxy's part.

        Raises:
            TransferError: the link may not be followed, its host does not answer with 2xx, or the sink refuses it.
            ConnectionFailed, RequestTimeout, ClientClosedError: as for `exchange`.
        """
        from .protocol.links import check_link, is_loopback  # noqa: PLC0415 — for those who download
        from .transfers.resolver import PublicResolver  # noqa: PLC0415

        self.open()
        url = URL(check_link(link, self._base), encoded=True)
        loopback = is_loopback(URL(self._base).host or "")
        resolver = None if self._proxy is not None else PublicResolver(self._resolver, loopback=loopback)
        try:
            async with (
                self._session_elsewhere(timeouts, resolver) as session,
                session.get(url, allow_redirects=False, proxy=self._proxy, ssl=self._ssl) as answer,
            ):
                if not 200 <= answer.status < 300:
                    raise TransferError(f"the download link was answered {answer.status}; it may have expired")
                await sink.take(answer.headers, answer.content.iter_chunked(_CHUNK))
                return
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            caught = error
        raise failure_elsewhere(caught, "the download link's host")

    async def deliver(self, url: str, body: bytes, timeouts: Timeouts) -> int:
        """Post JSON to a callback URL, which is not the gateway's: without credentials or redirects, once.

        Returns:
            The HTTP status; what else is answered is not read.

        Raises:
            ConfigurationError: the URL is not HTTPS (plain HTTP is taken on loopback only).
            ConnectionFailed, RequestTimeout, ClientClosedError: as for `exchange`. Their texts do not show the URL.
        """
        check_callback_url(url)
        self.open()
        payload = aiohttp.BytesPayload(body, content_type="application/json")
        try:
            async with (
                asyncio.timeout(timeouts.connect + timeouts.read),
                self._session_elsewhere(timeouts) as session,
                session.post(url, data=payload, allow_redirects=False, proxy=self._proxy, ssl=self._ssl) as answer,
            ):
                return answer.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            caught = error
        raise failure_elsewhere(caught, "the callback URL's host")

    def _session_elsewhere(self, timeouts: Timeouts, resolver: AbstractResolver | None = None) -> aiohttp.ClientSession:
        """Make a session for a host that is not the gateway's: nothing of ours goes along."""
        opening = opening_seconds(timeouts, proxied=self._proxy is not None)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=resolver),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": self._headers["User-Agent"]},
            timeout=aiohttp.ClientTimeout(
                total=None, connect=opening, sock_connect=timeouts.connect, sock_read=timeouts.read
            ),
        )

    def _url(self, request: Request) -> URL:
        if request.message_id is None:
            query = f"?{request.query}" if request.query else ""
            return URL(f"{self._base}{request.path}{query}", encoded=True)
        url = self._send_urls.get(request.path)
        if url is None:
            url = self._send_urls[request.path] = URL(self._base + request.path, encoded=True)
        return url

    def _client_timeout(self, timeouts: Timeouts, *, swept: bool) -> aiohttp.ClientTimeout:
        if self._timeouts is not timeouts:
            self._timeouts = timeouts
            self._swept_timeout, self._plain_timeout = _client_timeouts(timeouts, self._proxy is not None)
        return self._swept_timeout if swept else self._plain_timeout

    def _failure(
        self, error: BaseException, request: Request, tracker: aiohttp.UploadTracker, timeouts: Timeouts
    ) -> TransportError:
        if self._closed and not isinstance(error, TimeoutError):
            sent = sent_when(error, request, tracker)
            text = "the client was closed during the request"
            return ConnectionFailed(text, sent=sent, message_id=request.message_id)
        return failure_of(error, request, tracker, timeouts, self._host, proxied=self._proxy is not None)


class _LoopTurns:
    """Counts turns of the event loop, while requests begin: one callback a turn serves all that begin in it."""

    __slots__ = ("_due", "count")

    def __init__(self) -> None:
        self.count = 0
        self._due = False

    def begin(self, loop: asyncio.AbstractEventLoop) -> int:
        """Return the count, which grows before the loop receives anything more."""
        if not self._due:
            self._due = True
            loop.call_soon(self._turned)
        return self.count

    def _turned(self) -> None:
        self.count += 1
        self._due = False


def _check_it_was_asked(size: int, tracker: aiohttp.UploadTracker, *, loop_turned: bool) -> None:
    """Refuse an answer that came before the request had left: it is what an earlier one left behind on the connection.

    So is one for which the event loop need not have turned: nothing can have been received since the request.
    """
    if tracker.bytes_written < size or not loop_turned:
        raise aiohttp.ClientConnectionError


def _client_timeouts(timeouts: Timeouts, proxied: bool) -> tuple[aiohttp.ClientTimeout, aiohttp.ClientTimeout]:
    """For requests whose read time-out `ReadDeadlines` keeps; and for those without a body, which it cannot see leave.

    `total` and `connect` would count the wait for a pooled connection. Through a proxy nothing else bounds the wait for
    its answer to CONNECT.
    """
    opening = opening_seconds(timeouts, proxied=True) if proxied else None
    return (
        aiohttp.ClientTimeout(total=None, connect=opening, sock_connect=timeouts.connect),
        aiohttp.ClientTimeout(total=None, connect=opening, sock_connect=timeouts.connect, sock_read=timeouts.read),
    )
