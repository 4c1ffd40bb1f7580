"""WhatsApp templates, their review, and phone numbers of the sandbox."""

from __future__ import annotations

import re
from itertools import count
from typing import Any

import msgspec

from ...clock import Clock
from ...errors import ConfigurationError
from ...models.whatsapp import TemplateStatus, WhatsAppTemplateDraft
from ...protocol.operations import whatsapp as operations
from ...protocol.operations.messages import WhatsAppBody
from ..answers import Reply, reply
from .paging import page_of
from .request import Handlers, Refused, ResourceRequest, numeric
from .template_values import mismatch

__all__ = ["WhatsAppAccount"]

_NAMED = re.compile(r"\{(\w+)\}")


class WhatsAppAccount:
    """The account's templates and numbers.

    A send of a template that is here is checked against it (422, by the FAQ); of templates that are not, any is taken.
    A template is approved `review_seconds` after it was created or changed, unless `review` decided otherwise. Answers
    are a use case's where one shows them; a single template has the fields it was created with (a guess).

    Attributes:
        templates: by id; ``status`` is only brought up to date when they are asked for.
        phone_numbers: by id, as they are answered.
        review_seconds: how long Meta takes.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ids = count(42)
        self._due: dict[int, float] = {}
        self.review_seconds = 1.0
        self.templates: dict[int, dict[str, Any]] = {}
        self.phone_numbers: dict[int, dict[str, Any]] = {number_id: _phone_number(number_id) for number_id in (5, 7)}

    def handlers(self) -> Handlers:
        """What this area serves."""
        return {
            operations.LIST_TEMPLATES: self._list,
            operations.GET_TEMPLATE: self._get,
            operations.CREATE_TEMPLATE: self._create,
            operations.UPDATE_TEMPLATE: self._update,
            operations.DELETE_TEMPLATE: self._delete,
            operations.LIST_PHONE_NUMBERS: self._list_numbers,
            operations.GET_PHONE_NUMBER: self._get_number,
        }

    def review(self, template_id: int | str, status: TemplateStatus | str) -> None:
        """Decide as Meta would. Raises ``ConfigurationError`` if there is no such template."""
        if template_id not in self.templates:
            raise ConfigurationError("the sandbox has no such template")
        self._due.pop(int(template_id), None)
        self.templates[int(template_id)]["status"] = TemplateStatus(status)

    def refusal(self, request: WhatsAppBody) -> str | None:
        """Say why a send of a template is refused: not approved, or with other values. Unknown templates pass."""
        if request.template is None:
            return None
        asked = request.template
        named = (asked.get("name"), asked.get("language"), request.phone_number_id)
        for template in map(self._reviewed, list(self.templates)):
            if (
                named == (template["name"], template["lang"], template["phoneNumberId"])
                or asked.get("id") == template["id"]
            ):
                return self._misfit(template, request)
        return None

    @staticmethod
    def _misfit(template: dict[str, Any], request: WhatsAppBody) -> str | None:
        if template["status"] != TemplateStatus.APPROVED:
            return "Field `template` is a template that is not approved"
        if "parameters" in (request.template or {}):
            return None
        texts = [template.get(name) for name in ("headerText", "body", "footer", "buttons")]
        has_fallback = bool(request.fallback_rcs or request.fallback_sms)
        return mismatch(texts, request.placeholders, has_fallback=has_fallback)

    # --- templates ---

    def _list(self, request: ResourceRequest) -> Reply:
        query: operations.TemplateQuery = request.query
        found = [
            _listed(template)
            for template in map(self._reviewed, list(self.templates))
            if query.status in {None, template["status"]}
            and (query.phone_number_id is None or str(query.phone_number_id) == str(template["phoneNumberId"]))
        ]
        return reply(200, {"data": page_of(found, query.page, query.limit)})

    def _get(self, request: ResourceRequest) -> Reply:
        return reply(200, self._reviewed(self._known(request)))

    def _create(self, request: ResourceRequest) -> Reply:
        asked = str(request.query.phone_number_id)
        number_id = next((item for item in self.phone_numbers if str(item) == asked), None)
        if number_id is None:
            raise Refused(404, "No such phone number")
        draft = msgspec.to_builtins(request.body)
        taken = {(item["name"], item["lang"], item["phoneNumberId"]) for item in self.templates.values()}
        if (draft["name"], draft["lang"], number_id) in taken:
            raise Refused(400, "Field `name` is that of another template in this language")
        template_id = next(self._ids)
        self.templates[template_id] = {**draft, "id": template_id, "phoneNumberId": number_id}
        return reply(201, self._submitted(template_id))

    def _update(self, request: ResourceRequest) -> Reply:
        template = self.templates[self._known(request)]
        changed = {**template, **msgspec.to_builtins(request.body)}
        try:
            draft = msgspec.convert(changed, WhatsAppTemplateDraft)
        except msgspec.ValidationError as error:
            raise Refused(400, str(error)) from None
        kept = {"id": template["id"], "phoneNumberId": template["phoneNumberId"]}
        self.templates[template["id"]] = {**msgspec.to_builtins(draft), **kept}
        return reply(200, self._submitted(template["id"]))

    def _delete(self, request: ResourceRequest) -> Reply:
        template_id = self._known(request)
        del self.templates[template_id]
        self._due.pop(template_id, None)
        return Reply(status=204)

    def _known(self, request: ResourceRequest) -> int:
        template_id = numeric(request)
        if template_id not in self.templates:
            raise Refused(404, "No such template")
        return template_id

    def _submitted(self, template_id: int) -> dict[str, Any]:
        self.templates[template_id]["status"] = TemplateStatus.PENDING
        self._due[template_id] = self._clock.monotonic() + self.review_seconds
        return self.templates[template_id]

    def _reviewed(self, template_id: int) -> dict[str, Any]:
        due = self._due.get(template_id)
        if due is not None and self._clock.monotonic() >= due:
            self.review(template_id, TemplateStatus.APPROVED)
        return self.templates[template_id]

    # --- phone numbers ---

    def _list_numbers(self, request: ResourceRequest) -> Reply:
        found = page_of(list(self.phone_numbers.values()), request.query.page, request.query.limit)
        return reply(200, {"phoneNumbers": found})

    def _get_number(self, request: ResourceRequest) -> Reply:
        number = self.phone_numbers.get(numeric(request))
        if number is None:
            raise Refused(404, "No such phone number")
        return reply(200, number)


def _phone_number(number_id: int) -> dict[str, Any]:
    return {
        "id": number_id,
        "phoneNumber": f"+39020000000{number_id}",
        "displayName": f"Sandbox {number_id}",
        "verifiedName": "Sandbox S.r.l.",
        "qualityRating": "GREEN",
        "status": "ACTIVE",
        "messagingLimit": "TIER_10K",
        "platform": "CLOUD_API",
    }


def _listed(template: dict[str, Any]) -> dict[str, Any]:
    """Show a template as the use case's list has it: Meta's components, with numbers for names."""
    header = {"type": "HEADER", "format": template.get("headerFormat", "TEXT"), "text": template.get("headerText")}
    components = [
        {name: value for name, value in header.items() if value is not None},
        {"type": "BODY", "text": _numbered(template["body"])},
    ]
    if "footer" in template:
        components.append({"type": "FOOTER", "text": template["footer"]})
    if "buttons" in template:
        buttons = [{**button, "url": _numbered(button.get("url", ""))} for button in template["buttons"]]
        components.append({"type": "BUTTONS", "buttons": buttons})
    shown = {name: template[name] for name in ("id", "name", "category", "status")}
    has_header = "headerFormat" in template or "headerText" in template
    return {**shown, "language": template["lang"], "components": components if has_header else components[1:]}


def _numbered(text: str) -> str:
    names = list(dict.fromkeys(_NAMED.findall(text)))
    return _NAMED.sub(lambda found: f"{{{{{names.index(found[1]) + 1}}}}}", text)
