"""All areas of the platform API together."""

from __future__ import annotations

from collections.abc import Mapping

from ...clock import Clock
from ...protocol.operations.messages import RcsBody, WhatsAppBody
from ..answers import Reply, problem
from ..gateway import Gateway
from ..keys import KeyCabinet
from ..requests import SendRequest
from .account import Account
from .api_keys import ApiKeyDesk
from .campaigns import CampaignOffice
from .contacts import ContactBook
from .exports import ExportOffice
from .history import MessageLog
from .inbox import InboxBook
from .media import MediaLibrary
from .rcs import RcsTemplateShelf
from .request import Refused, ResourceRequest
from .router import Match, ResourceRouter, read_request
from .whatsapp import WhatsAppAccount

__all__ = ["Platform"]


class Platform:
    """The platform API over its state. One attribute an area, so that tests can look into it.

    Attributes:
        router: what is served.
        account: plan, quota, credit and social profiles.
        campaigns: campaigns.
        contacts: contacts, lists and membership.
        exports: exports, and how long they take.
        inbox: conversations.
        media: the media library and inbound media.
        rcs: RCS templates.
        whatsapp: WhatsApp templates and numbers.
    """

    def __init__(self, clock: Clock, gateway: Gateway, keys: KeyCabinet) -> None:
        self.contacts = ContactBook(clock)
        self.account = Account(lambda: gateway.credit, lambda: len(self.contacts.contacts))
        self.campaigns = CampaignOffice(clock, lambda: gateway.credit, self.contacts.count_on)
        log = MessageLog(clock, gateway)
        self.exports = ExportOffice(clock, self.contacts, log)
        self.inbox = InboxBook(clock)
        self.media = MediaLibrary(clock)
        self.rcs = RcsTemplateShelf()
        self.whatsapp = WhatsAppAccount(clock)
        areas = (
            self.account,
            ApiKeyDesk(keys),
            self.campaigns,
            self.contacts,
            self.exports,
            self.inbox,
            log,
            self.media,
            self.rcs,
            self.whatsapp,
        )
        self.router = ResourceRouter([area.handlers() for area in areas])

    def check(self, match: Match, query: Mapping[str, str], body: bytes, content_type: str) -> ResourceRequest | Reply:
        """Check that a request is well-formed; what else is wrong with it is found when it is processed."""
        return read_request(match, query, body, content_type)

    def refusal(self, request: SendRequest) -> str | None:
        """Say why a send is refused for the template it refers to, if it is."""
        if isinstance(request, WhatsAppBody):
            return self.whatsapp.refusal(request)
        return self.rcs.refusal(request) if isinstance(request, RcsBody) else None

    @staticmethod
    def process(match: Match, request: ResourceRequest) -> Reply:
        """Do what is asked."""
        try:
            return match.handler(request)
        except Refused as refused:
            return problem(refused.status, refused.message)
