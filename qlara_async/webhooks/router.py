"""Which handlers an event goes to."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeAlias, TypeVar

import msgspec

from ..errors import ConfigurationError
from ..loggers import webhooks_logger
from ..models.events import Delivery, Event, Inbound, Read, UnknownEvent
from .context import Context
from .middleware import CallNext, Middleware, chain

__all__ = ["Registration", "Router"]

_E = TypeVar("_E", bound=Event)
_Handler: TypeAlias = Callable[[_E], Awaitable[object]] | Callable[[_E, Context], Awaitable[object]]
_Predicate: TypeAlias = Callable[[_E], object]

_DeliveryHandler = TypeVar("_DeliveryHandler", bound=_Handler[Delivery])
_ReadHandler = TypeVar("_ReadHandler", bound=_Handler[Read])
_InboundHandler = TypeVar("_InboundHandler", bound=_Handler[Inbound])
_UnknownHandler = TypeVar("_UnknownHandler", bound=_Handler[UnknownEvent])

_Middleware = TypeVar("_Middleware", bound=Middleware)

PredicateFailed: TypeAlias = Callable[[BaseException, Event, str], object]


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """A handler as registered.

    Attributes:
        name: the durable name: given, or ``module.qualname``.
        handler: the function, untouched.
        takes_context: it wants a second argument.
        predicate: tells which events it wants; ``None`` is all.
        observes: it runs besides the one handler that an inbound message goes to.
        timeout: seconds a run may take; ``None`` leaves it to the receiver.
        concurrency: how many of its runs there may be at once; ``None`` is as many as the receiver runs.
    """

    name: str
    handler: Callable[..., Awaitable[object]]
    takes_context: bool
    predicate: Callable[[Any], object] | None = None
    observes: bool = False
    timeout: float | None = None
    concurrency: int | None = None


class Router:
    """Handlers by kind of event, composable.

    Handlers are ``async`` functions of the event, or of the event and a ``Context``; one that can be called with the
    event alone is. The decorators return the function untouched. Receipts and unknown events go to all handlers that
    match, in order of registration; an inbound message goes to the first one, and to all observers that match. A
    router's own handlers come before those of the routers it includes.

    Predicates are plain functions of the event; one that raises counts as not matching, and is reported.
    """

    def __init__(self) -> None:
        self._own: dict[type[Event], list[Registration]] = {}
        self._middlewares: list[Middleware] = []
        self._included: list[Router] = []
        self._includers: list[Router] = []
        self._plan: _Plan | None = None

    def on_delivery(
        self,
        predicate: _Predicate[Delivery] | None = None,
        *,
        name: str | None = None,
        timeout: float | None = None,
        concurrency: int | None = None,
    ) -> Callable[[_DeliveryHandler], _DeliveryHandler]:
        """Register a handler of delivery receipts.

        Args:
            predicate: which of them; all if not given.
            name: the durable name, if ``module.qualname`` will not do.
            timeout: seconds a run may take, ``math.inf`` for any. Then it is cancelled, and has failed with
                ``HandlerTimeout``. One that goes on a second later is left to itself, and may still be running when
                the next attempt begins. A handler that blocks the event loop cannot be cancelled: wait in threads
                (``asyncio.to_thread``).
            concurrency: how many of its runs there may be at once in this process. Its other events wait in the inbox
                meanwhile, and keep no other handler from running.

        Raises:
            ConfigurationError: the handler is not ``async`` or cannot be called, the predicate cannot be used, or
                ``timeout`` or ``concurrency`` cannot work.
        """
        return self._registrar(Delivery, predicate, name, timeout=timeout, concurrency=concurrency)

    def on_read(
        self,
        predicate: _Predicate[Read] | None = None,
        *,
        name: str | None = None,
        timeout: float | None = None,
        concurrency: int | None = None,
    ) -> Callable[[_ReadHandler], _ReadHandler]:
        """Register a handler of read receipts; see ``on_delivery``."""
        return self._registrar(Read, predicate, name, timeout=timeout, concurrency=concurrency)

    def on_inbound(
        self,
        predicate: _Predicate[Inbound] | None = None,
        *,
        name: str | None = None,
        timeout: float | None = None,
        concurrency: int | None = None,
    ) -> Callable[[_InboundHandler], _InboundHandler]:
        """Register a handler of inbound messages, of which only the first that matches runs; see ``on_delivery``."""
        return self._registrar(Inbound, predicate, name, timeout=timeout, concurrency=concurrency)

    def observe_inbound(
        self,
        predicate: _Predicate[Inbound] | None = None,
        *,
        name: str | None = None,
        timeout: float | None = None,
        concurrency: int | None = None,
    ) -> Callable[[_InboundHandler], _InboundHandler]:
        """Register an observer of inbound messages: it runs besides the handler they go to; see ``on_delivery``."""
        return self._registrar(Inbound, predicate, name, timeout=timeout, concurrency=concurrency, observes=True)

    def on_unknown(
        self,
        predicate: _Predicate[UnknownEvent] | None = None,
        *,
        name: str | None = None,
        timeout: float | None = None,
        concurrency: int | None = None,
    ) -> Callable[[_UnknownHandler], _UnknownHandler]:
        """Register a handler of events that could not be named or decoded; see ``on_delivery``."""
        return self._registrar(UnknownEvent, predicate, name, timeout=timeout, concurrency=concurrency)

    def middleware(self, function: _Middleware) -> _Middleware:
        """Wrap the handlers of this router and of those it includes: ``@router.middleware``; see ``Middleware``.

        It runs within the handler's time limit, after the predicates. The first registered is the outermost, and those
        of an including router are around those of the router it includes.

        Raises:
            ConfigurationError: it is not ``async``.
        """
        check_middleware(function)
        self._middlewares.append(function)
        self._changed()
        return function

    def include(self, router: Router) -> None:
        """Add another router's handlers after this one's, those it gets later included.

        Raises:
            ConfigurationError: it is this router, includes it, or is included already.
        """
        if any(inner is self for inner, _ in router._walk()):
            raise ConfigurationError("a router cannot include itself, directly or through others")
        if any(inner is router for inner in self._included):
            raise ConfigurationError("this router is included already")
        self._included.append(router)
        router._includers.append(self)
        self._changed()

    @property
    def root(self) -> Router:
        """The router at the top of the tree this one is in: a receiver, once it is included in one."""
        return self._includers[0].root if self._includers else self

    def match(self, event: Event, failed: PredicateFailed) -> list[str]:
        """Name the handlers an event goes to, in order. ``failed`` is told of predicates that raise."""
        first_only = type(event) is Inbound
        taken = False
        names: list[str] = []
        for registration in (self._plan or self._planned()).by_type.get(type(event), ()):
            if taken and not registration.observes:
                continue
            if _wants(registration, event, failed):
                names.append(registration.name)
                taken = taken or (first_only and not registration.observes)
        return names

    def registration(self, name: str) -> Registration:
        """Look a handler up by its durable name. Raises ``KeyError``."""
        return (self._plan or self._planned()).by_name[name]

    def names(self) -> list[str]:
        """Name all handlers, each under its durable name."""
        return list((self._plan or self._planned()).by_name)

    def limits(self) -> dict[str, int]:
        """Tell how many runs at once each handler may have, of those that have a limit."""
        return (self._plan or self._planned()).limits

    def check_names(self) -> None:
        """Check that no two handlers have one name.

        Raises:
            ConfigurationError: two have. Stored work would go to the other when they are registered in another order.
        """
        if twice := (self._plan or self._planned()).twice:
            raise ConfigurationError(
                f"two handlers are named {twice[0]}: with a durable inbox each needs a name= of its own"
            )

    def _registrar(
        self,
        kind: type[Event],
        predicate: Callable[[Any], object] | None,
        name: str | None,
        *,
        timeout: float | None,
        concurrency: int | None,
        observes: bool = False,
    ) -> Callable[[Any], Any]:
        _check_predicate(predicate)
        if (concurrency is not None and concurrency < 1) or (timeout is not None and not timeout > 0):
            raise ConfigurationError("concurrency of a handler is at least 1, and its timeout above 0 seconds")

        def register(handler: Any) -> Any:
            registration = Registration(
                name=name or _durable_name(handler),
                handler=handler,
                takes_context=_takes_context(handler),
                predicate=predicate,
                observes=observes,
                timeout=timeout,
                concurrency=concurrency,
            )
            self._own.setdefault(kind, []).append(registration)
            self._changed()
            return handler

        return register

    def _walk(self, around: tuple[Middleware, ...] = ()) -> Iterator[tuple[Router, tuple[Middleware, ...]]]:
        around = (*around, *self._middlewares)
        yield self, around
        for router in self._included:
            yield from router._walk(around)

    def _changed(self) -> None:
        self._plan = None
        for router in self._includers:
            router._changed()

    def _planned(self) -> _Plan:
        self._plan = _Plan(self._walk())
        return self._plan


class _Plan:
    """The tree laid out flat, each router once, each handler under a name of its own and in its middlewares."""

    __slots__ = ("by_name", "by_type", "limits", "twice")

    def __init__(self, routers: Iterator[tuple[Router, tuple[Middleware, ...]]]) -> None:
        self.by_name: dict[str, Registration] = {}
        self.by_type: dict[type[Event], list[Registration]] = {}
        self.limits: dict[str, int] = {}
        self.twice: list[str] = []
        seen: set[Router] = set()
        for router, middlewares in routers:
            if router in seen:
                continue
            seen.add(router)
            for kind, registrations in router._own.items():
                wrapped = (_wrapped(registration, middlewares) for registration in registrations)
                self.by_type.setdefault(kind, []).extend(map(self._named, wrapped))

    def _named(self, registration: Registration) -> Registration:
        name, count = registration.name, 1
        while name in self.by_name:
            count += 1
            name = f"{registration.name}#{count}"
        if count > 1:
            self.twice.append(registration.name)
            webhooks_logger.warning(
                "two handlers are named %s: this one runs as %s; give it a name=", registration.name, name
            )
            registration = msgspec.structs.replace(registration, name=name)
        self.by_name[name] = registration
        if registration.concurrency is not None:
            self.limits[name] = registration.concurrency
        return registration


def check_middleware(function: object) -> None:
    """Refuse what is no middleware. Raises ``ConfigurationError``."""
    if not callable(function) or not _is_async(function):
        raise ConfigurationError("a middleware is an async function: `async def middleware(event, ctx, call_next)`")


def _wrapped(registration: Registration, middlewares: tuple[Middleware, ...]) -> Registration:
    if not middlewares:
        return registration
    handler = registration.handler
    last: CallNext = handler if registration.takes_context else lambda event, _: handler(event)
    return msgspec.structs.replace(registration, handler=chain(middlewares, last), takes_context=True)


def _wants(registration: Registration, event: Event, failed: PredicateFailed) -> bool:
    if registration.predicate is None:
        return True
    try:
        return bool(registration.predicate(event))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # it would escape to the gateway's request otherwise
        failed(error, event, registration.name)
        return False


def _check_predicate(predicate: object) -> None:
    if predicate is None:
        return
    if not callable(predicate):
        raise ConfigurationError("a predicate is a function of the event")
    if _is_async(predicate):
        raise ConfigurationError("a predicate is a plain function; to register a handler, write @router.on_…() with ()")


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _durable_name(handler: object) -> str:
    module, qualname = getattr(handler, "__module__", None), getattr(handler, "__qualname__", None)
    if module is None or qualname is None:
        raise ConfigurationError("a handler that is not a function needs a name=")
    return f"{module}.{qualname}"


def _takes_context(handler: Callable[..., Any]) -> bool:
    if not callable(handler) or not _is_async(handler):
        raise ConfigurationError("a handler is an async function: `async def handler(event)`")
    signature = inspect.signature(handler)
    for arguments in (("event",), ("event", "ctx")):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return len(arguments) == 2
    raise ConfigurationError("a handler takes one argument (event) or two (event, ctx)")
