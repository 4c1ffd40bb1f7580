"""The client."""

from __future__ import annotations

import copy
import inspect
import math
import os
import random as random_module
import ssl as ssl_module
from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import msgspec

from ._version import __version__
from .clock import Clock, SystemClock
from .errors import ConfigurationError
from .limiter import Limiter
from .loggers import client_logger
from .models.answers import Answer, Receipt
from .models.message import Message, Rcs, Sms, WhatsApp
from .models.options import Priority, RateLimit, RetryPolicy, Timeouts
from .protocol.requests import SAFE, raw_request
from .resources.catalogue import Catalogue
from .resources.channels import RcsChannel, SmsChannel, WhatsAppChannel
from .sending.calls import Caller, CallOptions, EventHook, Pursuit
from .sending.gates import Gate, check_gates
from .sending.keys import KeyRing, all_credentials, limiters_for
from .sending.known_templates import KnownTemplates
from .sending.lookups import Lookups
from .sending.sends import ReceiptListener, Sender
from .sending.test_mode import AllowedDestinations, described
from .sending.usage import Usage
from .transport import Credentials, Transport

if TYPE_CHECKING:
    from .bulk.estimate import Estimate
    from .bulk.job import BulkJob
    from .bulk.journalled import JournalledDelivery
    from .bulk.outcome import OnUnknown, SmsRoute
    from .consent import SuppressionList
    from .conversations import Conversations, OutsideWindow
    from .protocol.prices import Price
    from .sending.batches import BatchingSender

__all__ = ["DEFAULT_BASE_URL", "QlaraClient"]

DEFAULT_BASE_URL = "https://lora-api.agiletelecom.com/api"

# Connections where no rate limit bounds the requests in flight: aiohttp's own default.
_UNLIMITED_POOL = 100
# Of a bulk job: messages in flight, and batches by the legacy route.
_CONCURRENCY = 32
_BATCHES_IN_FLIGHT = 8


class QlaraClient(Catalogue):
    """An async client of the Qlara gateway.

    May be constructed anywhere, also at import; the connection pool is made at first use and belongs to that event
    loop. Use it as ``async with QlaraClient(…) as qlara``, or call `start` and `aclose`.

    Args:
        api_key: the account's API key (``X-Api-Key``), or several of it: the next takes over when the gateway refuses
            one (401), without failing a send. `from_env` reads one from the environment.
        basic_auth: user name and password instead of a key.
        base_url: the gateway, up to and with ``/api``.
        rate_limit: requests permitted to each key; ``None`` turns the windows off (pauses asked for by the gateway
            still hold).
        limiter: a `Limiter` to share with other clients of the same (first) key, instead of `rate_limit`; or one for
            each key.
        timeouts: of one attempt.
        retry: how long a send is pursued.
        on_event: called with every `ClientEvent`, synchronously: keep it short. What it raises is logged and ignored.
        suppression: who is not to be written to; checked before every send.
        conversations: who wrote when: free-form WhatsApp messages are sent only within 24 hours of it.
        outside_window: what becomes of the others: ``"refuse"``, a template that is sent instead, a function of the
            message that returns one, or ``"send"``. See `qlara_async.conversations.OutsideWindow`.
        simulation: make every message a dry run.
        only_destinations: the only numbers that are sent to, as ``+39…``; with ``*`` at the end, all that begin so.
        templates: what is known of templates, if it is to be shared with other clients or to check less; see
            `KnownTemplates`. Messages are checked against what the client has seen of templates.
        gates: checks of your own, asked before every send, bulk included, after those above; see `Gate`.
        session: an ``aiohttp.ClientSession`` to use; it is not closed with the client.
        connector: an aiohttp connector to use; it is not closed with the client.
        proxy: URL of an HTTP proxy.
        ssl: a TLS context.
        clock: the clock; for tests.
        random: from [0, 1), for the jitter of waits; for tests.

    Raises:
        ConfigurationError: arguments that cannot work together, a key with blanks, a base URL that is not HTTPS.
    """

    def __init__(
        self,
        api_key: str | Sequence[str] | None = None,
        *,
        basic_auth: tuple[str, str] | None = None,
        base_url: str = DEFAULT_BASE_URL,
        rate_limit: RateLimit | None = RateLimit.PRODUCTION,
        limiter: Limiter | Sequence[Limiter] | None = None,
        timeouts: Timeouts = Timeouts(),
        retry: RetryPolicy = RetryPolicy(),
        on_event: EventHook | None = None,
        suppression: SuppressionList | None = None,
        conversations: Conversations | None = None,
        outside_window: OutsideWindow = "refuse",
        simulation: bool = False,
        only_destinations: Iterable[str] | None = None,
        templates: KnownTemplates | None = None,
        gates: Sequence[Gate] = (),
        session: aiohttp.ClientSession | None = None,
        connector: aiohttp.BaseConnector | None = None,
        proxy: str | None = None,
        ssl: ssl_module.SSLContext | None = None,
        clock: Clock | None = None,
        random: Callable[[], float] = random_module.random,
    ) -> None:
        credentials = all_credentials(api_key, basic_auth)
        if conversations is None and outside_window != "refuse":
            raise ConfigurationError("outside_window needs conversations=, which knows who wrote when")
        if on_event is not None and (not callable(on_event) or inspect.iscoroutinefunction(on_event)):
            raise ConfigurationError("on_event is a function that is called synchronously: it must not be async")
        if limiter is not None and rate_limit is not RateLimit.PRODUCTION:
            raise ConfigurationError("give rate_limit or limiter, not both: a limiter has its own rate")
        check_gates(gates if suppression is None else (suppression, *gates))
        self._clock = clock or SystemClock()
        limiters = limiters_for(len(credentials), limiter, rate_limit, self._clock)
        self._transport = Transport(
            base_url,
            credentials[0],
            user_agent=f"qlara_async/{__version__} aiohttp/{aiohttp.__version__}",
            session=session,
            connector=connector,
            # A grant must not wait for a connection, or many would reach the gateway at once: the limit bounds them.
            connections=_UNLIMITED_POOL if limiters[0].rate is None else 0,
            proxy=proxy,
            ssl=ssl,
        )
        self._caller = Caller(
            self._transport,
            KeyRing(credentials, limiters),
            clock=self._clock,
            random=random,
            on_event=on_event,
        )
        self._lookups = Lookups(self._caller, self._clock)
        self._sender = Sender(self._caller, self._lookups, self._clock)
        self._templates = KnownTemplates(clock=self._clock) if templates is None else templates
        window = None if conversations is None else _window(conversations, outside_window, self._clock)
        allowed = None if only_destinations is None else AllowedDestinations(only_destinations)
        self._use(
            CallOptions(
                timeouts=timeouts,
                retry=retry,
                gates=tuple(gate for gate in (allowed, suppression, window, *gates) if gate is not None),
                simulation=simulation,
            )
        )
        if simulation or allowed is not None:
            client_logger.warning("this client is in test mode: %s", described(simulation, allowed is not None))

    def _use(self, options: CallOptions) -> None:
        self._options = options
        self._checked = msgspec.structs.replace(options, gates=(*options.gates, self._templates))
        self._offer(self._caller, options, self._sender)
        self.sms = SmsChannel(Sms, self.send, self._api)
        self.rcs = RcsChannel(Rcs, self.send, self._api, self._templates)
        self.whatsapp = WhatsAppChannel(WhatsApp, self.send, self._api, self._templates)

    @classmethod
    def from_env(cls, **options: Any) -> Self:
        """Make a client from ``QLARA_API_KEY`` and, if set, ``QLARA_BASE_URL`` and ``QLARA_SIMULATION`` (``1``, ``0``).

        `options` are the constructor's, and go before.

        Raises:
            ConfigurationError: ``QLARA_API_KEY`` is not set, or ``QLARA_SIMULATION`` is something else.
        """
        api_key = os.environ.get("QLARA_API_KEY")
        if not api_key:
            raise ConfigurationError("set QLARA_API_KEY to the account's API key")
        base_url = os.environ.get("QLARA_BASE_URL")
        if base_url:
            options.setdefault("base_url", base_url)
        simulation = os.environ.get("QLARA_SIMULATION") or "0"
        if simulation not in {"0", "1"}:
            raise ConfigurationError("QLARA_SIMULATION is 1 for dry runs only, or 0")
        options.setdefault("simulation", simulation == "1")
        return cls(api_key, **options)

    def with_options(
        self,
        *,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
        priority: Priority | None = None,
        outside_window: OutsideWindow | None = None,
    ) -> Self:
        """Return a view of this client with other options for its calls.

        It shares connections, limiter and lifetime with this one: closing either closes both.

        Raises:
            ConfigurationError: `outside_window` is given, and the client has no conversations.
        """
        view = copy.copy(self)
        given = {"timeouts": timeouts, "retry": retry, "priority": priority}
        changed: dict[str, Any] = {name: option for name, option in given.items() if option is not None}
        if outside_window is not None:
            changed["gates"] = _with_outside_window(self._options.gates, outside_window)
        view._use(msgspec.structs.replace(self._options, **changed))
        return view

    @property
    def limiter(self) -> Limiter:
        """The limiter of the key in use: live `set_rate`, `pause_until`, and to share with another client."""
        return self._caller.limiter

    @property
    def usage(self) -> Usage:
        """What this client and its views have sent, and waited for, since it was made."""
        return self._caller.usage

    def rotate_key(self, api_key: str, *, limiter: Limiter | None = None) -> None:
        """Use another key from now on, without a gap: requests that wait move on to it, those on the wire finish.

        The key in use until now stands by. It takes over again should the gateway refuse the new one, so a key may be
        rotated before it is in force everywhere; revoke the old one when ``on_event`` shows the new one at work.

        Args:
            api_key: the new key.
            limiter: for its requests; a new one of the present rate, if not given. A key that the client has already
                keeps the limiter it has.

        Raises:
            ConfigurationError: it cannot be a key, or the client authenticates by user name.
        """
        self._caller.rotate_key(Credentials.of_key(api_key), limiter)

    async def start(self) -> None:
        """Open the connection pool now rather than at first use."""
        self._transport.open()

    async def aclose(self) -> None:
        """Close the connections. A closed client stays closed."""
        await self._lookups.close()
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"QlaraClient({'closed' if self._transport.closed else 'open'}, {self.limiter!r})"

    async def send(self, message: Message, *, outside_window: OutsideWindow | None = None) -> Receipt:
        """Send one message. Its ``message_id`` is minted and fixed before the first attempt, if you gave none.

        A send that ended in doubt is looked up. Sending the same object again sends the same id again.

        Args:
            message: what to send.
            outside_window: for this message, instead of the client's own.

        Raises:
            NotSentError: a check before the send refused it. DeliveryUnknownError: the message may have been accepted,
            looking it up did not tell, and it was not repeated. MessageRejectedError: the gateway answered 2xx with
            ``accepted: false``. ApiError: the gateway refused it: one class for each documented status.
            ConnectionFailed, RequestTimeout: it provably did not reach the gateway within the retry policy.
        """
        if outside_window is not None:
            return await self.with_options(outside_window=outside_window).send(message)
        return await self._send(message)

    async def _send(self, message: Message, pursuit: Pursuit | None = None) -> Receipt:
        return await self._sender.send(self._checked if self._templates.any else self._options, message, pursuit)

    def on_receipt(self, listener: ReceiptListener) -> Callable[[], None]:
        """Call ``listener(message, receipt)`` for each accepted message, bulk included, before its send returns.

        It is called synchronously: keep it short. What it raises is logged and ignored.

        Returns:
            A function that stops it.
        """
        return self._sender.listen(listener)

    def bulk(
        self,
        source: Iterable[object] | AsyncIterable[object],
        *,
        concurrency: int | None = None,
        ordered: bool = False,
        journal: str | os.PathLike[str] | None = None,
        on_unknown: OnUnknown = "keep",
        sms_route: SmsRoute = "universal",
        batch: int = 100,
        flush_after: float = 0.05,
    ) -> BulkJob:
        """Send everything `source` yields: messages, or mappings such as the rows of a ``csv.DictReader``.

        Bulk sends wait in the limiter's bulk lane, which always leaves a reserve to single sends.

        Args:
            source: an iterable or async iterable; it is drawn from only as fast as messages go out.
            concurrency: messages in flight at once. Rate × round-trip time is enough: 32, the default, serves 50
                requests a second up to 0.6 s. By the legacy route the default is 8 × `batch`, and it is at least one.
            ordered: yield outcomes in the order of the source instead of as they come.
            journal: a file that lets the job be run again, with the same source, after a crash or an end of any kind:
                what is final in it comes back with ``resumed=True``, what was in flight is looked up, the rest is
                sent.
            on_unknown: what to do on such a rerun with messages that stay unknown after another look-up: ``"keep"``
                them so, or ``"resend"`` them, at the risk that they arrive twice.
            sms_route: ``"legacy"`` sends SMS by SMS Legacy, many in a request, which counts once for the rate limit.
                It knows no ``campaign_id`` and ids of 64 characters at most: messages that need more are ``invalid``.
            batch: SMS in one request of the legacy route, at most.
            flush_after: seconds an SMS of the legacy route waits for others to share its request.

        Returns:
            A job: ``async with qlara.bulk(rows) as job: async for outcome in job: …``. Its loop raises what the source
            raised, ``AuthenticationError`` once the gateway refuses the key, and a `JournalError` when the journal
            cannot be used or the source is not the one it was begun with.
        """
        from .bulk.job import BulkJob  # noqa: PLC0415 — for those who use it

        options = msgspec.structs.replace(
            self._checked if self._templates.any else self._options, priority=Priority.BULK
        )
        if on_unknown not in {"keep", "resend"}:
            raise ConfigurationError('on_unknown is "keep" or "resend"')
        batching = None
        if sms_route != "universal":
            batching = self._batching(options, sms_route, batch, flush_after)
            concurrency = _BATCHES_IN_FLIGHT * batch if concurrency is None else concurrency
            if concurrency < batch:
                raise ConfigurationError("concurrency counts messages: with fewer than batch no batch could fill")
        sender = batching or self._sender
        return BulkJob(
            source,
            partial(sender.send, options),
            concurrency=_CONCURRENCY if concurrency is None else concurrency,
            ordered=ordered,
            clock=self._clock,
            journalled=None if journal is None else self._by_journal(journal, sender, options, on_unknown),
            batching=batching,
        )

    async def estimate(
        self, source: Iterable[object] | AsyncIterable[object], *, price: Price | None = None, batch: int | None = None
    ) -> Estimate:
        """Draw a source of `bulk` to its end and say what a job over it would send, cost and take. Nothing is sent.

        Args:
            source: as of `bulk`; a generator is used up.
            price: of one SMS part or one other message; or a mapping of prices by channel.
            batch: SMS in one request, for a job with ``sms_route="legacy"``: counted as if every batch were full.

        Raises:
            ConfigurationError: a price is none, or missing for a channel of the source; `batch` is no such number.
        """
        from .bulk.estimate import estimate  # noqa: PLC0415 — for those who use it

        windows = self.limiter.unused_windows()
        return await estimate(source, price=price, batch=batch, windows=windows, gates=self._checked.gates)

    def _batching(self, options: CallOptions, sms_route: str, batch: int, flush_after: float) -> BatchingSender:
        from .sending.batches import BatchingSender  # noqa: PLC0415 — for those who use it

        if sms_route != "legacy":
            raise ConfigurationError('sms_route is "universal" or "legacy"')
        if type(batch) is not int or batch < 1:
            raise ConfigurationError("batch counts messages: a whole number from 1")
        if not 0 <= flush_after < math.inf:
            raise ConfigurationError("flush_after is in seconds and must not be negative")
        return BatchingSender(self._sender, options, batch=batch, flush_after=flush_after)

    def _by_journal(
        self, path: str | os.PathLike[str], sender: Sender, options: CallOptions, on_unknown: OnUnknown
    ) -> JournalledDelivery:
        from .bulk.journal import JournalWriter  # noqa: PLC0415 — SQLite is for those who use it
        from .bulk.journalled import JournalledDelivery  # noqa: PLC0415

        return JournalledDelivery(
            JournalWriter(path, clock=self._clock),
            sender,
            self._lookups,
            self._caller.limiters,
            options=options,
            clock=self._clock,
            on_unknown=on_unknown,
        )

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int | float | bool] | None = None,
        json: Any = None,
        body: bytes | None = None,
        content_type: str | None = None,
    ) -> Answer:
        """Ask for what the package has no name for: authenticated, limited, and retried where HTTP says it is safe.

        Args:
            method: the HTTP method.
            path: below the base URL, for instance ``/partner-gateway/v1/campaigns``.
            params: the query.
            json: anything msgspec encodes, as the body.
            body: bytes, as the body.
            content_type: of `body`; JSON if not given.

        Raises:
            ApiError, TransportError: as for any call. After a POST that ended in a `TransportError` with
                ``sent == "maybe"`` or a `ServerError`, only you can know whether to repeat it.
            NotSentError: the client is in test mode, and the method is none that only reads.
        """
        if method.upper() not in SAFE:
            self._api().refuse_in_test_mode("a raw request")
        request = raw_request(method, path, params=params, json=json, body=body, content_type=content_type)
        response = await self._caller.call(request, self._options)
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(status=response.status, headers=headers, body=response.body)


def _window(conversations: Conversations, outside: OutsideWindow, clock: Clock) -> Gate:
    from .conversations import WindowGate  # noqa: PLC0415 — SQLite is for those who use it

    return WindowGate(conversations, outside, clock)


def _with_outside_window(gates: tuple[Gate, ...], outside: OutsideWindow) -> tuple[Gate, ...]:
    from .conversations import WindowGate  # noqa: PLC0415

    if not any(isinstance(gate, WindowGate) for gate in gates):
        raise ConfigurationError("outside_window needs a client with conversations=, which knows who wrote when")
    return tuple(gate.with_outside(outside) if isinstance(gate, WindowGate) else gate for gate in gates)
