"""Every documented operation is one that a method of the client calls and the sandbox serves.

The list below is written by hand from the documentation, independently of the package's own registry.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from qlara_async import QlaraClient, Rcs, RcsTextContent, Sms, TemplateCategory, WhatsApp, WhatsAppTemplateDraft
from qlara_async.models.telemetry import ClientEvent, RequestFinished
from qlara_async.protocol.operations.registry import OPERATIONS
from qlara_async.resources.api_keys import ApiKeys
from qlara_async.resources.callbacks import Webhooks
from qlara_async.resources.campaigns import Campaigns
from qlara_async.resources.contact_lists import ContactLists
from qlara_async.resources.contacts import Contacts
from qlara_async.resources.exports import Exports
from qlara_async.resources.inbox import Inbox
from qlara_async.resources.media import Media
from qlara_async.resources.messages import Messages
from qlara_async.resources.phone_numbers import PhoneNumbers
from qlara_async.resources.rcs_templates import RcsTemplates
from qlara_async.resources.sms_legacy import SmsLegacy
from qlara_async.resources.socials import Socials
from qlara_async.resources.subscription import Subscriptions
from qlara_async.resources.whatsapp_templates import WhatsAppTemplates
from qlara_async.sandbox import Life, Sandbox
from qlara_async.sandbox.openapi import document

pytestmark = pytest.mark.anyio

GATEWAY = "/partner-gateway/v1"
SWAPPED = "/v1/partner-gateway"
SERVER = "/message-server"

DOCUMENTED = {
    # sending.md
    ("POST", f"{SERVER}/sms/send"),
    ("POST", f"{SERVER}/rcs/send"),
    ("POST", f"{SERVER}/whatsapp/send"),
    ("POST", "/services/sms/send"),
    ("GET", "/services/sms/credit"),
    # platform.md 1
    ("GET", f"{GATEWAY}/authentication"),
    ("POST", f"{GATEWAY}/authentication"),
    ("GET", f"{GATEWAY}/authentication/{{}}"),
    ("DELETE", f"{GATEWAY}/authentication/{{}}"),
    # 2, 3
    ("GET", f"{GATEWAY}/messages/status"),
    ("GET", f"{GATEWAY}/messages/status/{{}}"),
    ("GET", f"{GATEWAY}/messages/history"),
    ("POST", f"{GATEWAY}/messages/history/export"),
    # 4
    ("GET", f"{GATEWAY}/exports"),
    ("POST", f"{GATEWAY}/exports/contacts"),
    ("POST", f"{GATEWAY}/exports/delivery-reports"),
    ("GET", f"{GATEWAY}/exports/{{}}"),
    ("POST", f"{GATEWAY}/exports/{{}}"),
    # 5, callbacks.md 1
    ("GET", f"{GATEWAY}/webhooks/delivery-status"),
    ("POST", f"{GATEWAY}/webhooks/delivery-status"),
    ("PUT", f"{GATEWAY}/webhooks/delivery-status"),
    ("DELETE", f"{GATEWAY}/webhooks/delivery-status"),
    # callbacks.md: inbound media
    ("GET", "/files/{}"),
    # 6
    ("GET", f"{GATEWAY}/contacts"),
    ("POST", f"{GATEWAY}/contacts"),
    ("DELETE", f"{GATEWAY}/contacts"),
    ("GET", f"{GATEWAY}/contacts/{{}}"),
    ("PUT", f"{GATEWAY}/contacts/{{}}"),
    ("POST", f"{GATEWAY}/contacts/upload"),
    ("POST", f"{GATEWAY}/contacts/upload/vcard"),
    ("POST", f"{GATEWAY}/contacts/mapped/file"),
    ("POST", f"{GATEWAY}/contacts/mapped/vcard"),
    ("GET", f"{GATEWAY}/contacts/list"),
    ("POST", f"{GATEWAY}/contacts/list"),
    ("DELETE", f"{GATEWAY}/contacts/list"),
    ("GET", f"{GATEWAY}/contacts/list/{{}}/contacts"),
    ("POST", f"{GATEWAY}/contacts/list/contacts"),
    ("DELETE", f"{GATEWAY}/contacts/list/contacts"),
    ("DELETE", f"{GATEWAY}/contacts/list/contacts/{{}}"),
    # 7
    ("GET", f"{GATEWAY}/campaigns"),
    ("POST", f"{GATEWAY}/campaigns"),
    ("GET", f"{GATEWAY}/campaigns/{{}}"),
    ("PUT", f"{GATEWAY}/campaigns/{{}}"),
    ("DELETE", f"{GATEWAY}/campaigns/{{}}"),
    ("POST", f"{GATEWAY}/campaigns/{{}}/calculateGoal"),
    ("GET", f"{GATEWAY}/campaigns/{{}}/price"),
    ("PUT", f"{GATEWAY}/campaigns/{{}}/confirm"),
    ("GET", f"{GATEWAY}/campaigns/stats"),
    # 8
    ("GET", f"{GATEWAY}/inbox/conversations"),
    ("GET", f"{GATEWAY}/inbox/conversations/{{}}"),
    ("GET", f"{GATEWAY}/inbox/conversations/{{}}/messages"),
    ("POST", f"{GATEWAY}/inbox/conversations/reply"),
    ("PATCH", f"{GATEWAY}/inbox/conversations/{{}}/read"),
    ("PATCH", f"{GATEWAY}/inbox/conversations/{{}}/archive"),
    ("PATCH", f"{GATEWAY}/inbox/conversations/{{}}/unarchive"),
    ("POST", f"{GATEWAY}/inbox/conversations/{{}}/assignee"),
    ("DELETE", f"{GATEWAY}/inbox/conversations/{{}}/assignee"),
    ("GET", f"{GATEWAY}/inbox/conversations/assignable-users"),
    # 9
    ("GET", f"{SERVER}/whatsapp/templates"),
    ("POST", f"{SERVER}/whatsapp/templates"),
    ("GET", f"{SERVER}/whatsapp/templates/{{}}"),
    ("PATCH", f"{SERVER}/whatsapp/templates/{{}}"),
    ("DELETE", f"{SERVER}/whatsapp/templates/{{}}"),
    ("GET", f"{SERVER}/whatsapp/phone-numbers"),
    ("GET", f"{SERVER}/whatsapp/phone-numbers/{{}}"),  # a use case only
    ("GET", f"{SERVER}/rcs/templates"),
    ("POST", f"{SERVER}/rcs/templates"),
    ("GET", f"{SERVER}/rcs/templates/{{}}"),
    ("PUT", f"{SERVER}/rcs/templates/{{}}"),
    ("DELETE", f"{SERVER}/rcs/templates/{{}}"),
    # 10
    ("POST", f"{GATEWAY}/media"),
    ("GET", f"{GATEWAY}/media"),
    ("GET", f"{GATEWAY}/media/{{}}"),
    ("DELETE", f"{GATEWAY}/media/{{}}"),
    # 11, 12
    ("GET", f"{SWAPPED}/subscription"),
    ("GET", f"{SWAPPED}/subscription/contacts"),
    ("GET", f"{SWAPPED}/subscription/credit"),
    ("GET", f"{SWAPPED}/socials"),
    ("GET", f"{SWAPPED}/socials/{{}}"),
}

CALLBACK = "https://example.org/qlara/token"
MEDIA_KEY = "photo"


async def everything(listing: Any) -> list[Any]:
    return [item async for item in listing]


async def messages(qlara: QlaraClient) -> None:
    receipt = await qlara.send(Sms(destination="+393401234567", sender="ACME", body="Ciao"))
    await qlara.send(Rcs(destination="+393401234567", agent_id=1, template_id=2))
    await qlara.send(WhatsApp(destination="+393401234567", phone_number_id=1, body="Ciao"))
    await qlara.messages.status(receipt.message_id, channel="SMS")
    await qlara.messages.statuses([receipt.message_id], channel="SMS")
    batch = [Sms(destination="+393401234567", sender="ACME", body="Ciao")]
    async with qlara.bulk(batch, sms_route="legacy") as job:
        assert [outcome.state async for outcome in job] == ["accepted"]
    assert await qlara.sms_legacy.credit() > 0


async def webhooks(qlara: QlaraClient) -> None:
    await qlara.webhooks.register(CALLBACK)
    await qlara.webhooks.get()
    await qlara.webhooks.update(CALLBACK)
    await qlara.webhooks.revoke()


async def account(qlara: QlaraClient) -> None:
    key = await qlara.api_keys.create(["SMS"])
    await everything(qlara.api_keys.list())
    await qlara.api_keys.find(key.value or "")
    await qlara.api_keys.delete(key.id)
    await qlara.subscription.get()
    await qlara.subscription.contacts()
    await qlara.subscription.credit()
    await everything(qlara.socials.list())
    await qlara.socials.get("facebook")


async def exports(qlara: QlaraClient) -> None:
    since, until = datetime(2026, 1, 1, tzinfo=UTC), datetime.now(UTC)
    await everything(qlara.messages.history(channel="SMS", from_=since, to=until))
    await qlara.messages.export_history(start_date_time=since, end_date_time=until)
    await qlara.exports.delivery_reports(start_date_time=since, end_date_time=until)
    export = await qlara.exports.contacts()
    await everything(qlara.exports.list())
    await qlara.exports.wait_until_available(export)
    await qlara.exports.get_link(export)
    await qlara.exports.regenerate(export)


async def contacts(qlara: QlaraClient) -> None:
    contact = await qlara.contacts.create(phone_number="+393401234567")
    await everything(qlara.contacts.list())
    await qlara.contacts.get(contact.id)
    await qlara.contacts.update(contact.id, first_name="Anna")
    await qlara.contacts.import_file(b"+393401234568", file_name="people.csv")
    await qlara.contacts.import_vcard(b"BEGIN:VCARD\nTEL:+393401234569\nEND:VCARD", file_name="people.vcf")
    await qlara.contacts.confirm_file_import({"mapping": {"0": "phoneNumber"}})
    await qlara.contacts.confirm_vcard_import({"mapping": {"0": "phoneNumber"}})
    made = await qlara.contact_lists.create("VIP")
    await everything(qlara.contact_lists.list())
    added = await qlara.contact_lists.add([made.id], [contact.id])
    await everything(qlara.contact_lists.contacts(made.id))
    await qlara.contact_lists.remove_association(added.ids[0])
    await qlara.contact_lists.remove([made.id], [contact.id])
    await qlara.contact_lists.delete([made.id])
    await qlara.contacts.delete([contact.id])


async def media(qlara: QlaraClient) -> None:
    made = await qlara.media.upload(b"GIF89a", file_name="logo.gif")
    await everything(qlara.media.list())
    await qlara.media.get(made.id)
    await qlara.media.delete(made.id)
    with TemporaryDirectory() as directory:
        await qlara.media.download(MEDIA_KEY, f"{directory}/photo.jpg")


async def inbox(qlara: QlaraClient) -> None:
    (chat,) = await everything(qlara.inbox.conversations())
    await qlara.inbox.get(chat.id)
    await everything(qlara.inbox.messages(chat.id))
    await qlara.inbox.reply(chat.id, "Ciao")
    await qlara.inbox.mark_read(chat.id)
    await qlara.inbox.archive(chat.id)
    await qlara.inbox.unarchive(chat.id)
    (user,) = await everything(qlara.inbox.assignable_users())
    await qlara.inbox.assign(chat.id, user.id)
    await qlara.inbox.unassign(chat.id)


async def whatsapp(qlara: QlaraClient) -> None:
    numbers = await everything(qlara.whatsapp.phone_numbers.list())
    await qlara.whatsapp.phone_numbers.get(numbers[0].id)
    draft = WhatsAppTemplateDraft(name="saluto", lang="it", category=TemplateCategory.UTILITY, body="Ciao {nome}")
    made = await qlara.whatsapp.templates.create(draft, phone_number_id=numbers[0].id)
    await everything(qlara.whatsapp.templates.list())
    await qlara.whatsapp.templates.update(made.id, footer="ACME")
    await qlara.whatsapp.templates.get(made.id)
    await qlara.whatsapp.templates.delete(made.id)


async def rcs(qlara: QlaraClient) -> None:
    made = await qlara.rcs.templates.create("saluto", RcsTextContent(text="Ciao {nome}"), description="hello")
    await everything(qlara.rcs.templates.list())
    await qlara.rcs.templates.get(made.id)
    await qlara.rcs.templates.update(made.id, "saluto", RcsTextContent(text="Salve {nome}"), description="hello")
    await qlara.rcs.templates.delete(made.id)


async def campaigns(qlara: QlaraClient) -> None:
    made = await qlara.campaigns.create("Saldi", sending_mode="SMS", sms_sender="ACME", sms_body="Ciao")
    await everything(qlara.campaigns.list())
    await qlara.campaigns.get(made.id)
    await qlara.campaigns.update(made.id, destinations=["+393401234567"], ready_to_send=True)
    await qlara.campaigns.calculate_goal(made.id)
    await qlara.campaigns.price(made.id)
    await qlara.campaigns.confirm(made.id)
    await everything(qlara.campaigns.stats(date(2026, 1, 1), date(2026, 12, 31)))
    await qlara.campaigns.delete((await qlara.campaigns.create("Bozza")).id)


TOURS: list[Callable[[QlaraClient], Awaitable[None]]] = [
    messages,
    webhooks,
    account,
    campaigns,
    exports,
    contacts,
    media,
    inbox,
    rcs,
    whatsapp,
]
"""One for each area: it calls every method of its resources, against the sandbox, and they all succeed."""


@pytest.fixture
async def called(anyio_backend: str) -> set[tuple[str, str]]:
    """The method and path of every request that the tours had answered with success."""
    seen: set[tuple[str, str]] = set()
    refused: list[tuple[str, str, int | None]] = []

    def note(event: ClientEvent) -> None:
        if isinstance(event, RequestFinished):
            seen.add((event.method, event.path))
            if event.status is None or event.status >= 300:
                refused.append((event.method, event.path, event.status))

    async with (
        Sandbox(rate_limit=None, life=Life(final=0.0)) as sandbox,
        QlaraClient(sandbox.api_key, base_url=sandbox.url, rate_limit=None, on_event=note) as qlara,
    ):
        sandbox.platform.account.connect("facebook")
        sandbox.platform.media.receive(b"JFIF", media_key=MEDIA_KEY)
        await sandbox.inbound(source="+393401234567", destination="+390212345678", text="Ciao", lost=True)
        for tour in TOURS:
            await tour(qlara)
    assert refused == []
    return seen


def bare(path: str) -> str:
    return re.sub(r"\{\w*\}", "{}", path)


def is_one_of(path: str, template: str) -> bool:
    return re.fullmatch("[^/]+".join(map(re.escape, template.split("{}"))), path) is not None


def operations_in(called: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The most literal documented path each request stands for."""
    found = set()
    for method, path in called:
        fits = [template for verb, template in DOCUMENTED if verb == method and is_one_of(path, template)]
        assert fits, f"{method} {path} is not on the list of documented operations"
        found.add((method, min(fits, key=lambda template: template.count("{}"))))
    return found


def test_the_registry_has_every_documented_operation_and_no_other() -> None:
    registered = [(operation.method, bare(operation.path)) for operation in OPERATIONS]
    assert len(registered) == len(set(registered)) == len({operation.id for operation in OPERATIONS})
    assert set(registered) == DOCUMENTED


async def test_the_client_calls_every_documented_operation_and_the_sandbox_serves_it(
    called: set[tuple[str, str]],
) -> None:
    assert operations_in(called) == DOCUMENTED


def test_the_document_describes_every_operation_of_the_registry() -> None:
    described = {
        (method.upper(), path, operation["operationId"])
        for path, operations in document()["paths"].items()
        for method, operation in operations.items()
    }
    assert described == {(operation.method, operation.path, operation.id) for operation in OPERATIONS}


RESOURCES: list[type] = [
    ApiKeys,
    Webhooks,
    Campaigns,
    Contacts,
    ContactLists,
    Exports,
    Inbox,
    Media,
    Messages,
    PhoneNumbers,
    RcsTemplates,
    SmsLegacy,
    Socials,
    Subscriptions,
    WhatsAppTemplates,
]
METHODS = [
    (resource, name)
    for resource in RESOURCES
    for name, member in vars(resource).items()
    if not name.startswith("_") and inspect.isfunction(member)
]
COMPOSED = {"wait_until_available", "wait_until_approved", "download", "test"}
"""What is made of other operations, or follows a link."""


@pytest.mark.parametrize(("resource", "name"), METHODS, ids=lambda value: getattr(value, "__name__", value))
def test_a_docstring_names_the_path_what_is_documented_and_the_errors(resource: type, name: str) -> None:
    text = inspect.getdoc(getattr(resource, name)) or ""
    if name not in COMPOSED:
        assert re.search(r"``(GET|POST|PUT|PATCH|DELETE) [/…]", text)
    assert re.search(r"[Dd]ocumented|guess|use case|page", f"{text} {resource.__doc__}")
    assert re.search(r"Raises|rais|errors", text)


def test_every_list_takes_a_limit() -> None:
    signatures = {(resource, name): inspect.signature(getattr(resource, name)) for resource, name in METHODS}
    lists = {key: shown for key, shown in signatures.items() if str(shown.return_annotation).startswith("Listing[")}
    assert len(lists) == 16
    assert [key for key, shown in lists.items() if "limit" not in shown.parameters] == []


def test_every_operation_is_named_by_a_docstring() -> None:
    text = " ".join(inspect.getdoc(getattr(resource, name)) or "" for resource, name in METHODS)
    sends = {operation for operation in DOCUMENTED if operation[1].endswith("/send") and SERVER in operation[1]}
    for verb, path in DOCUMENTED - sends:
        *_, before, last = path.split("/")
        tail = rf"{before}/\{{\w+\}}" if last == "{}" else last
        assert re.search(rf"``{verb} [^`]*/{tail}[`?]", text), (verb, path)
