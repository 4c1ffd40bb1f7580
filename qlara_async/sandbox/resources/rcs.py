"""RCS templates of the sandbox."""

from __future__ import annotations

from itertools import count
from typing import Any

import msgspec

from ...protocol.operations import rcs as operations
from ...protocol.operations.messages import RcsBody
from ..answers import Reply, reply
from .paging import spring_page
from .request import Handlers, Refused, ResourceRequest, numeric
from .template_values import mismatch

__all__ = ["RcsTemplateShelf"]


class RcsTemplateShelf:
    """The account's RCS templates. No page shows an answer: they have the fields they were created with, and an id.

    A send of a template that is here is checked against it (422, by the FAQ); of templates that are not, any is taken.

    Attributes:
        templates: by id, as they are answered.
    """

    def __init__(self) -> None:
        self._ids = count(1)
        self.templates: dict[int, dict[str, Any]] = {}

    def handlers(self) -> Handlers:
        """What this area serves."""
        return {
            operations.LIST_TEMPLATES: self._list,
            operations.GET_TEMPLATE: self._get,
            operations.CREATE_TEMPLATE: self._create,
            operations.UPDATE_TEMPLATE: self._update,
            operations.DELETE_TEMPLATE: self._delete,
        }

    def refusal(self, request: RcsBody) -> str | None:
        """Say why a send of a template is refused: its values do not fit. Unknown templates pass."""
        template = self.templates.get(request.template_id or 0)
        if template is None:
            return None
        return mismatch(template["body"], request.placeholders, has_fallback=bool(request.fallback_sms))

    def _list(self, request: ResourceRequest) -> Reply:
        return spring_page(list(self.templates.values()), request.query.page, request.query.limit)

    def _get(self, request: ResourceRequest) -> Reply:
        return reply(200, self.templates[self._known(request)])

    def _create(self, request: ResourceRequest) -> Reply:
        return reply(201, self._put(next(self._ids), request.body))

    def _update(self, request: ResourceRequest) -> Reply:
        return reply(200, self._put(self._known(request), request.body))

    def _delete(self, request: ResourceRequest) -> Reply:
        del self.templates[self._known(request)]
        return Reply(status=204)

    def _put(self, template_id: int, body: operations.RcsTemplateBody) -> dict[str, Any]:
        kind = operations.CONTENTS.get(body.type)
        if kind is not None:
            try:
                msgspec.convert(body.body, kind)
            except msgspec.ValidationError as error:
                raise Refused(400, f"Field `body`: {error}") from None
        self.templates[template_id] = {"id": template_id, **msgspec.to_builtins(body)}
        return self.templates[template_id]

    def _known(self, request: ResourceRequest) -> int:
        template_id = numeric(request)
        if template_id not in self.templates:
            raise Refused(404, "No such template")
        return template_id
