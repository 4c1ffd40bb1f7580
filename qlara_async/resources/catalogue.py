"""What a client offers beside its own methods, each imported and made at first use."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from ..sending.calls import Caller, CallOptions
from ..sending.sends import Sender

if TYPE_CHECKING:
    from .api import Api
    from .api_keys import ApiKeys
    from .callbacks import Webhooks
    from .campaigns import Campaigns
    from .contact_lists import ContactLists
    from .contacts import Contacts
    from .credit_watch import CreditWatch
    from .exports import Exports
    from .inbox import Inbox
    from .media import Media
    from .messages import Messages
    from .replies import Replies
    from .sms_legacy import SmsLegacy
    from .socials import Socials
    from .subscription import Subscriptions

__all__ = ["Catalogue"]

T = TypeVar("T")


class Resource(Generic[T]):
    """An attribute of the client: the class `name` of the module `name` beside this one, made once for each view."""

    def __init__(self, module: str, name: str) -> None:
        self._module = module
        self._name = name

    @overload
    def __get__(self, client: None, owner: type) -> Resource[T]: ...
    @overload
    def __get__(self, client: Catalogue, owner: type) -> T: ...
    def __get__(self, client: Catalogue | None, owner: type) -> Resource[T] | T:
        if client is None:
            return self
        made: T | None = client._resources.get(self._name)
        if made is None:
            kind = getattr(import_module(f".{self._module}", __package__), self._name)
            made = client._resources[self._name] = kind(client._api())
        return made


class Catalogue:
    """What a client offers beside its own methods. One line a resource; each takes an `Api`."""

    _resources: dict[str, Any]
    _api: Callable[[], Api]

    def _offer(self, caller: Caller, options: CallOptions, sender: Sender) -> None:
        """Make the resources, which are made at first use, call so from now on."""
        self._resources = {}
        self._api = partial(_api, caller, options, sender)

    api_keys: Resource[ApiKeys] = Resource("api_keys", "ApiKeys")
    campaigns: Resource[Campaigns] = Resource("campaigns", "Campaigns")
    contacts: Resource[Contacts] = Resource("contacts", "Contacts")
    contact_lists: Resource[ContactLists] = Resource("contact_lists", "ContactLists")
    exports: Resource[Exports] = Resource("exports", "Exports")
    inbox: Resource[Inbox] = Resource("inbox", "Inbox")
    media: Resource[Media] = Resource("media", "Media")
    messages: Resource[Messages] = Resource("messages", "Messages")
    replies: Resource[Replies] = Resource("replies", "Replies")
    sms_legacy: Resource[SmsLegacy] = Resource("sms_legacy", "SmsLegacy")
    socials: Resource[Socials] = Resource("socials", "Socials")
    subscription: Resource[Subscriptions] = Resource("subscription", "Subscriptions")
    webhooks: Resource[Webhooks] = Resource("callbacks", "Webhooks")

    def credit_watch(self, *, threshold: float, every: float = 300.0) -> CreditWatch:
        """Watch the account's credit (`subscription.credit`) while a block runs; tell when it falls below a threshold.

        ``async with qlara.credit_watch(threshold=50.0): …``: ``on_event`` is told `CreditLow` then, and a warning is
        logged.

        Args:
            threshold: of what is available, in the account's currency.
            every: seconds between questions, each of which is a request; the first is asked at once.

        Raises:
            ConfigurationError: a number is out of range.
        """
        from .credit_watch import CreditWatch  # noqa: PLC0415 — for those who use it

        return CreditWatch(self._api(), threshold=threshold, every=every)


def _api(caller: Caller, options: CallOptions, sender: Sender) -> Api:
    from .api import Api  # noqa: PLC0415 — for those who use it

    return Api(caller, options, sender)
