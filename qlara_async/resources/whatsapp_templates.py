"""``client.whatsapp.templates``: templates and their review (``/message-server/whatsapp/templates``)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from ..errors import (
    ConfigurationError,
    RateLimitError,
    ServerError,
    TemplateRejectedError,
    TemplateTimeout,
    TransportError,
)
from ..models.channel import Channel
from ..models.record import Id
from ..models.whatsapp import (
    TemplateButton,
    TemplateCategory,
    TemplateStatus,
    WhatsAppTemplateDraft,
    WhatsAppTemplateInfo,
)
from ..protocol.operations.whatsapp import (
    CREATE_TEMPLATE,
    DELETE_TEMPLATE,
    GET_TEMPLATE,
    LIST_TEMPLATES,
    UPDATE_TEMPLATE,
    TemplateCreation,
    TemplateQuery,
    WhatsAppTemplateChanges,
)
from ..protocol.parameters import chosen
from ..sending.known_templates import KnownTemplates
from .api import Api
from .listing import Listing

__all__ = ["WhatsAppTemplates"]

_FIRST_WAIT = 2.0
_LONGEST_WAIT = 300.0
_LONGEST_REVIEW = 48 * 3600.0


class WhatsAppTemplates:
    """Templates: list, read, create, change, delete, and wait for Meta's review.

    Paths and the fields of a creation are documented (guide "WhatsApp templates"); of the answers only an item of the
    list is shown, by a use case.
    """

    def __init__(self, api: Api, known: KnownTemplates) -> None:
        self._api = api
        self._known = known

    def list(
        self,
        *,
        status: TemplateStatus | str | None = None,
        phone_number_id: Id | None = None,
        limit: int | None = None,
        page_size: int = 10,
    ) -> Listing[WhatsAppTemplateInfo]:
        """List templates: ``GET /message-server/whatsapp/templates``; that it takes ``page`` is a guess.

        Args:
            status: only those in this state.
            phone_number_id: only those of this number's account.
            limit: at most so many in all.
            page_size: asked for per request; how many the gateway allows is undocumented.

        Raises:
            ConfigurationError: an argument does not fit. Iterating raises as a `Listing` does.
        """
        query = TemplateQuery(status=chosen(TemplateStatus, status, "status"), phone_number_id=phone_number_id)
        return self._api.pages(
            LIST_TEMPLATES, WhatsAppTemplateInfo, query, limit=limit, page_size=page_size, see=self._known.see
        )

    async def get(self, template_id: Id) -> WhatsAppTemplateInfo:
        """Return a template: ``GET /message-server/whatsapp/templates/{id}``. Raises ``NotFoundError``."""
        found = await self._api.get(GET_TEMPLATE, WhatsAppTemplateInfo, path={"id": template_id})
        self._known.see(found)
        return found

    async def create(
        self, draft: WhatsAppTemplateDraft, *, phone_number_id: Id, more: Mapping[str, Any] | None = None
    ) -> WhatsAppTemplateInfo:
        """Create a template, and so submit it: ``POST /message-server/whatsapp/templates?phoneNumberId=…``.

        It is not repeated after an ambiguous end: list the templates then.

        Args:
            draft: what it is to be.
            phone_number_id: the number whose account it is for: `id` of ``client.whatsapp.phone_numbers``.
            more: further members of the body, or ``buttons`` in another shape, if the draft has none.

        Returns:
            The draft with what the answer tells of it. What that is is undocumented; `id` is ``""`` if it is not in it.

        Raises:
            ConfigurationError: a field does not fit; nothing was sent. BadRequestError: the gateway refuses a field.
            NotFoundError: there is no such number (a guess).
        """
        query = TemplateCreation(phone_number_id=phone_number_id)
        made = await self._api.change(CREATE_TEMPLATE, WhatsAppTemplateInfo, query=query, body=draft, more=more)
        made = made.completed(
            {
                "name": draft.name,
                "language": draft.lang,
                "category": draft.category,
                "body": draft.body,
                "header_text": draft.header_text,
                "header_format": draft.header_format,
                "header_media_url": draft.header_media_url,
                "footer": draft.footer,
                "buttons": tuple(msgspec.to_builtins(draft.buttons)),
            }
        )
        self._known.see(made)
        return made

    async def update(
        self,
        template_id: Id,
        *,
        category: TemplateCategory | str | UnsetType = UNSET,
        body: str | UnsetType = UNSET,
        header_text: str | UnsetType | None = UNSET,
        header_format: Literal["IMAGE", "VIDEO", "DOCUMENT"] | UnsetType | None = UNSET,
        header_media_url: str | UnsetType | None = UNSET,
        footer: str | UnsetType | None = UNSET,
        buttons: Sequence[TemplateButton] | UnsetType = UNSET,
        placeholder_fields: Mapping[str, Any] | UnsetType | None = UNSET,
        track_button_links: bool | UnsetType = UNSET,
        more: Mapping[str, Any] | None = None,
    ) -> WhatsAppTemplateInfo:
        """Change a template: ``PATCH /message-server/whatsapp/templates/{id}``. Meta reviews it again before use.

        The body is undocumented: the arguments are the fields of a creation (`WhatsAppTemplateDraft`), and that what is
        not given stays, and ``None`` removes, is a guess. It is not repeated after an ambiguous end.

        Returns:
            What the answer tells, which is undocumented.

        Raises:
            ConfigurationError: a field does not fit; nothing was sent. BadRequestError: the gateway refuses a field.
            NotFoundError: there is no such template.
        """
        changes = WhatsAppTemplateChanges(
            category=category if category is UNSET else _category(category),
            body=body,
            header_text=header_text,
            header_format=header_format,
            header_media_url=header_media_url,
            footer=footer,
            buttons=buttons,
            placeholder_fields=placeholder_fields,
            track_button_links=track_button_links,
        )
        changed = await self._api.change(
            UPDATE_TEMPLATE, WhatsAppTemplateInfo, path={"id": template_id}, body=changes, more=more
        )
        changed = changed.completed({"id": template_id})
        self._known.forget(Channel.WHATSAPP, template_id)
        self._known.see(changed)
        return changed

    async def delete(self, template_id: Id) -> None:
        """Delete a template: ``DELETE /message-server/whatsapp/templates/{id}``. Raises ``NotFoundError``."""
        await self._api.call(DELETE_TEMPLATE, path={"id": template_id})
        self._known.forget(Channel.WHATSAPP, template_id)

    async def wait_until_approved(self, template_id: Id, *, timeout: float = _LONGEST_REVIEW) -> WhatsAppTemplateInfo:
        """Ask for a template until Meta has approved it: at once, after 2 s, then ever less often (5 min).

        A review takes minutes to 24 hours, at peak times 48 (FAQ). While the gateway fails or cannot be reached, the
        wait goes on. Words of a status that are not documented are waited out.

        Args:
            template_id: the template.
            timeout: seconds; 48 hours unless told. Then it is asked for once more; a request under way is not cut off.

        Raises:
            TemplateRejectedError: Meta rejected it. TemplateTimeout: it is not approved yet.
            NotFoundError: there is no such template. ApiError: the gateway refuses to say.
        """
        if not 0 <= timeout < math.inf:
            raise ConfigurationError("timeout is in seconds and must not be negative")
        clock = self._api.clock
        deadline = clock.monotonic() + timeout
        status: str | None = None
        failure: Exception | None = None
        for wait in _waits():
            try:
                template = await self.get(template_id)
            except (TransportError, ServerError, RateLimitError) as error:
                failure = error
            else:
                status, failure = template.status, None
                if template.is_approved:
                    return template
                if (status or "").upper() == TemplateStatus.REJECTED:
                    raise TemplateRejectedError(
                        f"template {template_id} was rejected: change it, and it is reviewed again",
                        template_id=template_id,
                        status=status,
                    )
            left = deadline - clock.monotonic()
            if left <= 0:
                break
            await clock.sleep(min(wait, left))
        raise TemplateTimeout(
            f"template {template_id} is not approved yet; the review goes on", template_id=template_id, status=status
        ) from failure


def _category(word: TemplateCategory | str) -> TemplateCategory:
    found = chosen(TemplateCategory, word, "category")
    if found is None:
        raise ConfigurationError("a template has a category")
    return found


def _waits() -> Iterator[float]:
    wait = _FIRST_WAIT
    while True:
        yield wait
        wait = min(2 * wait, _LONGEST_WAIT)
