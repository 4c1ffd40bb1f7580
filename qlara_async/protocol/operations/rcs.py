"""RCS templates, beside sending under ``/message-server`` (guide "RCS templates")."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ...errors import ConfigurationError
from ...models.rcs import (
    RcsCardContent,
    RcsCarouselContent,
    RcsFormContent,
    RcsTemplateContent,
    RcsTemplateInfo,
    RcsTextContent,
)
from ..parameters import Fields, checked
from .operation import Operation

__all__ = [
    "CONTENTS",
    "CREATE_TEMPLATE",
    "DELETE_TEMPLATE",
    "GET_TEMPLATE",
    "LIST_TEMPLATES",
    "OPERATIONS",
    "UPDATE_TEMPLATE",
    "RcsTemplateBody",
    "RcsTemplateQuery",
    "rcs_template_body",
]

NonEmpty = Annotated[str, Meta(min_length=1)]
_TEMPLATES = "/message-server/rcs/templates"
_GUIDE = "qlara/guides/templates-rcs"

CONTENTS: dict[str, type[RcsTextContent | RcsCardContent | RcsCarouselContent]] = {
    kind.type: kind for kind in (RcsTextContent, RcsCardContent, RcsCarouselContent)
}
"""The contents whose fields are known, by type."""


class RcsTemplateQuery(Fields, kw_only=True):
    """``GET /rcs/templates``: the parameters of every list."""

    page: Annotated[int, Meta(ge=0)] | None = None
    limit: Annotated[int, Meta(ge=1)] | None = None


class RcsTemplateBody(Fields, kw_only=True):
    """The body of a creation and of a change; ``FORM`` is the FAQ's."""

    name: NonEmpty
    description: NonEmpty
    type: Literal["TEXT", "CARD", "CAROUSEL", "FORM"]
    body: Annotated[dict[str, Any], Meta(min_length=1)]


def rcs_template_body(name: str, description: str, content: RcsTemplateContent) -> RcsTemplateBody:
    """Make the body of a creation or a change.

    Raises:
        ConfigurationError: the content has a field that does not fit, or is none.
    """
    if isinstance(content, RcsFormContent):
        body: Any = content.content
    elif isinstance(content, (RcsTextContent, RcsCardContent, RcsCarouselContent)):
        body = msgspec.to_builtins(checked(content))
    else:
        raise ConfigurationError("the content of an RCS template is text, card, carousel or form: Rcs…Content")
    return RcsTemplateBody(name=name, description=description, type=content.type, body=body)


LIST_TEMPLATES = Operation(
    id="rcs.templates.list",
    method="GET",
    path=_TEMPLATES,
    summary="List RCS templates",
    source=_GUIDE,
    query=RcsTemplateQuery,
    answer=list[RcsTemplateInfo],
    guess="parameters and answer are not shown",
)
GET_TEMPLATE = Operation(
    id="rcs.templates.get",
    method="GET",
    path=f"{_TEMPLATES}/{{id}}",
    summary="Read an RCS template",
    source=_GUIDE,
    answer=RcsTemplateInfo,
    errors=(404,),
    guess="the answer and the statuses of failure are not shown",
)
CREATE_TEMPLATE = Operation(
    id="rcs.templates.create",
    method="POST",
    path=_TEMPLATES,
    summary="Create an RCS template",
    source=_GUIDE,
    body=RcsTemplateBody,
    answer=RcsTemplateInfo,
    success=201,
    errors=(400,),
    guess="answer and statuses are not shown; the type FORM is the FAQ's",
)
UPDATE_TEMPLATE = Operation(
    id="rcs.templates.update",
    method="PUT",
    path=f"{_TEMPLATES}/{{id}}",
    summary="Replace an RCS template",
    source=_GUIDE,
    body=RcsTemplateBody,
    answer=RcsTemplateInfo,
    errors=(400, 404),
    guess="body, answer and statuses are not shown: the body is taken to be that of the creation",
)
DELETE_TEMPLATE = Operation(
    id="rcs.templates.delete",
    method="DELETE",
    path=f"{_TEMPLATES}/{{id}}",
    summary="Delete an RCS template",
    source=_GUIDE,
    success=204,
    errors=(404,),
    guess="the statuses are not shown",
)

OPERATIONS = (LIST_TEMPLATES, GET_TEMPLATE, CREATE_TEMPLATE, UPDATE_TEMPLATE, DELETE_TEMPLATE)
