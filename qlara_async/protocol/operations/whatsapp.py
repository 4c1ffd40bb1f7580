"""WhatsApp templates and phone numbers, beside sending under ``/message-server``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from ...models.variables import URL
from ...models.whatsapp import (
    TemplateButton,
    TemplateCategory,
    TemplateStatus,
    WhatsAppPhoneNumber,
    WhatsAppTemplateDraft,
    WhatsAppTemplateInfo,
)
from ..parameters import Fields
from .operation import Operation

__all__ = [
    "CREATE_TEMPLATE",
    "DELETE_TEMPLATE",
    "GET_PHONE_NUMBER",
    "GET_TEMPLATE",
    "LIST_PHONE_NUMBERS",
    "LIST_TEMPLATES",
    "OPERATIONS",
    "UPDATE_TEMPLATE",
    "PhoneNumberQuery",
    "TemplateCreation",
    "TemplateQuery",
    "WhatsAppTemplateChanges",
]

PageNumber = Annotated[int, Meta(ge=0)]
PageSize = Annotated[int, Meta(ge=1)]
NonEmpty = Annotated[str, Meta(min_length=1)]
_TEMPLATES = "/message-server/whatsapp/templates"
_NUMBERS = "/message-server/whatsapp/phone-numbers"
_GUIDE = "qlara/guides/templates-whatsapp"


class TemplateQuery(Fields, kw_only=True):
    """``GET /whatsapp/templates``: the parameters that were seen, and the ``page`` of every list."""

    status: TemplateStatus | None = None
    phone_number_id: int | str | None = None
    page: PageNumber | None = None
    limit: PageSize | None = None


class TemplateCreation(Fields, kw_only=True):
    """``POST /whatsapp/templates``: the number whose account gets the template."""

    phone_number_id: int | str


class WhatsAppTemplateChanges(Fields, kw_only=True):
    """``PATCH /whatsapp/templates/{id}``: what is left out stays (a guess, as HTTP has it of PATCH)."""

    category: TemplateCategory | UnsetType = UNSET
    body: NonEmpty | UnsetType = UNSET
    header_text: NonEmpty | UnsetType | None = UNSET
    header_format: Literal["IMAGE", "VIDEO", "DOCUMENT"] | UnsetType | None = UNSET
    header_media_url: Annotated[str, Meta(pattern=URL)] | UnsetType | None = UNSET
    footer: NonEmpty | UnsetType | None = UNSET
    buttons: Sequence[TemplateButton] | UnsetType = UNSET
    placeholder_fields: Mapping[str, Any] | UnsetType | None = UNSET
    track_button_links: bool | UnsetType = UNSET


class PhoneNumberQuery(Fields, kw_only=True):
    """``GET /whatsapp/phone-numbers`` (Postman): ``page`` from 0, ``limit`` 10 in its sample."""

    page: PageNumber | None = None
    limit: PageSize | None = None


LIST_TEMPLATES = Operation(
    id="whatsapp.templates.list",
    method="GET",
    path=_TEMPLATES,
    summary="List WhatsApp templates",
    source=_GUIDE,
    query=TemplateQuery,
    answer=list[WhatsAppTemplateInfo],
    guess="the fields of an item are a use case's; the parameter `page`, and how the list ends, are not shown",
)
GET_TEMPLATE = Operation(
    id="whatsapp.templates.get",
    method="GET",
    path=f"{_TEMPLATES}/{{id}}",
    summary="Read a WhatsApp template",
    source=_GUIDE,
    answer=WhatsAppTemplateInfo,
    errors=(404,),
    guess="the answer and the statuses of failure are not shown",
)
CREATE_TEMPLATE = Operation(
    id="whatsapp.templates.create",
    method="POST",
    path=_TEMPLATES,
    summary="Create a WhatsApp template and submit it to Meta's review",
    source=_GUIDE,
    query=TemplateCreation,
    body=WhatsAppTemplateDraft,
    answer=WhatsAppTemplateInfo,
    success=201,
    errors=(400, 404),
    guess="the answer, the statuses, an item of `buttons` and the shape of `placeholderFields` are not shown",
)
UPDATE_TEMPLATE = Operation(
    id="whatsapp.templates.update",
    method="PATCH",
    path=f"{_TEMPLATES}/{{id}}",
    summary="Change a WhatsApp template, which Meta reviews again",
    source=_GUIDE,
    body=WhatsAppTemplateChanges,
    answer=WhatsAppTemplateInfo,
    errors=(400, 404),
    guess="body and answer are not shown: the fields are taken to be those of the creation",
)
DELETE_TEMPLATE = Operation(
    id="whatsapp.templates.delete",
    method="DELETE",
    path=f"{_TEMPLATES}/{{id}}",
    summary="Delete a WhatsApp template",
    source=_GUIDE,
    success=204,
    errors=(404,),
    guess="the statuses are not shown",
)
LIST_PHONE_NUMBERS = Operation(
    id="whatsapp.phone_numbers.list",
    method="GET",
    path=_NUMBERS,
    summary="List the account's WhatsApp numbers",
    source="qlara/guides/whatsapp",
    query=PhoneNumberQuery,
    answer=list[WhatsAppPhoneNumber],
    guess="of the answer only `id` is shown; the other fields and the envelope are a use case's",
)
GET_PHONE_NUMBER = Operation(
    id="whatsapp.phone_numbers.get",
    method="GET",
    path=f"{_NUMBERS}/{{id}}",
    summary="Read one of the account's WhatsApp numbers",
    source="qlara/use-cases/UC-025-manage-whatsapp-phone-numbers",
    answer=WhatsAppPhoneNumber,
    errors=(404,),
    guess="only a use case names it",
)

OPERATIONS = (
    LIST_TEMPLATES,
    GET_TEMPLATE,
    CREATE_TEMPLATE,
    UPDATE_TEMPLATE,
    DELETE_TEMPLATE,
    LIST_PHONE_NUMBERS,
    GET_PHONE_NUMBER,
)
