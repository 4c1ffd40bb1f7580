"""``client.rcs.templates``: stored RCS messages (``/message-server/rcs/templates``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ..models.channel import Channel
from ..models.rcs import RcsTemplateContent, RcsTemplateInfo
from ..models.record import Id
from ..protocol.operations.rcs import (
    CREATE_TEMPLATE,
    DELETE_TEMPLATE,
    GET_TEMPLATE,
    LIST_TEMPLATES,
    UPDATE_TEMPLATE,
    RcsTemplateQuery,
    rcs_template_body,
)
from ..sending.known_templates import KnownTemplates
from .api import Api
from .listing import Listing

__all__ = ["RcsTemplates"]


class RcsTemplates:
    """RCS templates: list, read, create, replace, delete. They need no approval, as far as the guide says.

    Paths and the body of a creation are documented (guide "RCS templates"), no answer is.
    """

    def __init__(self, api: Api, known: KnownTemplates) -> None:
        self._api = api
        self._known = known

    def list(self, *, limit: int | None = None, page_size: int = 10) -> Listing[RcsTemplateInfo]:
        """List templates: ``GET /message-server/rcs/templates``; its parameters are those of other lists, a guess here.

        Args:
            limit: at most so many in all.
            page_size: asked for per request; how many the gateway allows is undocumented.

        Raises:
            ConfigurationError: an argument does not fit. Iterating raises as a `Listing` does.
        """
        return self._api.pages(
            LIST_TEMPLATES, RcsTemplateInfo, RcsTemplateQuery(), limit=limit, page_size=page_size, see=self._known.see
        )

    async def get(self, template_id: Id) -> RcsTemplateInfo:
        """Return a template: ``GET /message-server/rcs/templates/{id}``. Raises ``NotFoundError``."""
        found = await self._api.get(GET_TEMPLATE, RcsTemplateInfo, path={"id": template_id})
        self._known.see(found)
        return found

    async def create(
        self, name: str, content: RcsTemplateContent, *, description: str, more: Mapping[str, Any] | None = None
    ) -> RcsTemplateInfo:
        """Create a template: ``POST /message-server/rcs/templates``.

        It is not repeated after an ambiguous end: list the templates then.

        Args:
            name: to list it by.
            content: an `RcsTextContent`, `RcsCardContent`, `RcsCarouselContent` or `RcsFormContent`.
            description: what it is for.
            more: further members of the body.

        Returns:
            What was sent with what the answer tells of it. That is undocumented; `id` is ``""`` if it is not in it.

        Raises:
            ConfigurationError: a field does not fit; nothing was sent. BadRequestError: the gateway refuses a field.
        """
        body = rcs_template_body(name, description, content)
        made = await self._api.change(CREATE_TEMPLATE, RcsTemplateInfo, body=body, more=more)
        made = made.completed(msgspec.structs.asdict(body))
        self._known.see(made)
        return made

    async def update(
        self,
        template_id: Id,
        name: str,
        content: RcsTemplateContent,
        *,
        description: str,
        more: Mapping[str, Any] | None = None,
    ) -> RcsTemplateInfo:
        """Replace a template: ``PUT /message-server/rcs/templates/{id}``.

        No page shows the body: it is taken to be that of a creation, whole.

        Raises:
            ConfigurationError: a field does not fit; nothing was sent. BadRequestError: the gateway refuses a field.
            NotFoundError: there is no such template.
        """
        body = rcs_template_body(name, description, content)
        made = await self._api.change(UPDATE_TEMPLATE, RcsTemplateInfo, path={"id": template_id}, body=body, more=more)
        made = made.completed({"id": template_id, **msgspec.structs.asdict(body)})
        self._known.forget(Channel.RCS, template_id)
        self._known.see(made)
        return made

    async def delete(self, template_id: Id) -> None:
        """Delete a template: ``DELETE /message-server/rcs/templates/{id}``. Raises ``NotFoundError``."""
        await self._api.call(DELETE_TEMPLATE, path={"id": template_id})
        self._known.forget(Channel.RCS, template_id)
