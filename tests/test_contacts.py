"""Contacts and contact lists, client and sandbox together over real HTTP."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from qlara_async import QlaraClient
from qlara_async.errors import BadRequestError, ConfigurationError, InternalServerError, NotFoundError, TransferError
from qlara_async.protocol.operations.contacts import ContactBody, ContactQuery
from qlara_async.sandbox import Fault, Sandbox

from .wire import WireGateway, answer

pytestmark = pytest.mark.anyio

CONTACTS = "/partner-gateway/v1/contacts"


@pytest.fixture
async def sandbox(anyio_backend: str) -> AsyncIterator[Sandbox]:
    async with Sandbox(rate_limit=None) as sandbox:
        yield sandbox


@pytest.fixture
async def account(sandbox: Sandbox) -> AsyncIterator[QlaraClient]:
    async with QlaraClient(sandbox.api_key, base_url=sandbox.url, rate_limit=None) as qlara:
        yield qlara


async def names(listing: Any) -> list[str]:
    return [item.full_name async for item in listing]


class TestContacts:
    async def test_a_contact_is_created_read_changed_and_deleted(self, account: QlaraClient) -> None:
        made = await account.contacts.create(phone_number="+393401234567", first_name="Anna", last_name="Rossi")
        assert (made.full_name, made.phone_number, made.is_valid) == ("Anna Rossi", "+393401234567", True)
        changed = await account.contacts.update(made.id, email="anna@example.org", last_name=None)
        assert (changed.full_name, changed.phone_number, changed.email) == ("Anna", made.phone_number, changed.email)
        assert (await account.contacts.get(made.id)).raw == changed.raw
        assert (await account.contacts.delete([made.id])).answers == ({"deleted": 1},)
        with pytest.raises(NotFoundError):
            await account.contacts.get(made.id)
        with pytest.raises(NotFoundError):
            await account.contacts.update(made.id, email="a@b.it")

    async def test_a_change_sends_what_was_given_and_nothing_else(
        self, qlara: QlaraClient, gateway: WireGateway
    ) -> None:
        await qlara.contacts.update(5, email=None, more={"custom1": "x", "email": "loses"})
        assert (gateway.seen[0].method, gateway.seen[0].target) == ("PUT", f"/api{CONTACTS}/5")
        assert json.loads(gateway.seen[0].body) == {"email": None, "custom1": "x"}

    async def test_filters_find_and_pages_hold_everything(self, account: QlaraClient) -> None:
        for number in range(25):
            await account.contacts.create(phone_number=f"+39340000{number:04}", first_name=f"N{number:02}")
        assert await names(account.contacts.list(page_size=10)) == [f"N{number:02}" for number in range(25)]
        assert await names(account.contacts.list(search="n0", limit=3)) == ["N00", "N01", "N02"]
        assert await names(account.contacts.list(phone_number="+393400000007")) == ["N07"]
        assert await names(account.contacts.list(sort_order="desc", limit=1)) == ["N24"]
        assert await names(account.contacts.list(is_test=True)) == []

    async def test_bad_input_costs_no_request(self, account: QlaraClient, sandbox: Sandbox) -> None:
        for bad in (
            account.contacts.create(first_name="Anna"),
            account.contacts.create(email=""),
            account.contacts.create(email="a@b.it", more={"x": object()}),
            account.contacts.update(5, is_test="yes"),  # type: ignore[arg-type]
            account.contacts.delete("12"),
            account.contacts.delete(["1,2"]),
            account.contacts.delete_all_except([]),
            account.contacts.delete_all_except(range(201)),
            account.contact_lists.create(""),
            account.contact_lists.add([], [1]),
            account.contact_lists.add([1]),
            account.contact_lists.add([1], [2], all_contacts=True),
            account.contact_lists.remove([1], [2], exclude_ids=[3]),
        ):
            with pytest.raises(ConfigurationError):
                await bad
        assert list(sandbox.arrivals) == []

    async def test_deleting_nothing_asks_nothing_and_deletes_nothing(
        self, account: QlaraClient, sandbox: Sandbox
    ) -> None:
        sandbox.platform.contacts.add({"email": "a@b.it"})
        assert (await account.contacts.delete([])).answers == ()
        assert list(sandbox.arrivals) == []
        assert len(sandbox.platform.contacts.contacts) == 1

    async def test_many_ids_are_deleted_in_several_requests(self, account: QlaraClient, sandbox: Sandbox) -> None:
        for number in range(450):
            sandbox.platform.contacts.add({"email": f"{number}@b.it"})
        deletion = await account.contacts.delete(sandbox.platform.contacts.contacts)
        assert [said["deleted"] for said in deletion.answers] == [200, 200, 50]
        assert sandbox.platform.contacts.contacts == {}

    async def test_all_but_some_are_deleted(self, account: QlaraClient, sandbox: Sandbox) -> None:
        kept, *_ = [sandbox.platform.contacts.add({"email": f"{number}@b.it"})["id"] for number in range(3)]
        await account.contacts.delete_all_except([kept])
        assert list(sandbox.platform.contacts.contacts) == [kept]

    async def test_a_creation_is_not_repeated_in_doubt(self, account: QlaraClient, sandbox: Sandbox) -> None:
        sandbox.fault(None, Fault.ERROR_AFTER, route="platform")
        with pytest.raises(InternalServerError):
            await account.contacts.create(email="a@b.it")
        assert len(sandbox.platform.contacts.contacts) == 1

    async def test_a_change_and_adding_to_a_list_are_repeated(self, qlara: QlaraClient, gateway: WireGateway) -> None:
        gateway.script = [answer(500), answer(200, b'{"id": 5}'), answer(502), answer(201, b"[7]")]
        assert (await qlara.contacts.update(5, first_name="Anna")).id == 5
        assert (await qlara.contact_lists.add([1], [5])).ids == (7,)
        assert [seen.body for seen in gateway.seen[::2]] == [seen.body for seen in gateway.seen[1::2]]

    def test_g11_the_fields_of_a_request_are_not_in_its_repr(self) -> None:
        assert repr(ContactBody(phone_number="+393401234567", first_name="Anna")) == "ContactBody()"
        assert repr(ContactQuery(search="Anna")) == "ContactQuery()"


class TestLists:
    async def test_contacts_are_put_on_lists_and_taken_off(self, account: QlaraClient) -> None:
        anna = await account.contacts.create(email="anna@b.it", first_name="Anna")
        bruno = await account.contacts.create(email="bruno@b.it", first_name="Bruno")
        vip = await account.contact_lists.create("VIP", description="the best")
        assert (vip.name, vip.description, vip.contact_count) == ("VIP", "the best", 0)
        first = await account.contact_lists.add([vip.id], [anna.id, bruno.id])
        again = await account.contact_lists.add([vip.id], all_contacts=True, exclude_ids=[bruno.id])
        assert (len(first.ids), again.ids) == (2, ())
        assert await names(account.contact_lists.contacts(vip.id)) == ["Anna", "Bruno"]
        assert await names(account.contacts.list(not_list_ids=[vip.id])) == []
        await account.contact_lists.remove_association(first.ids[0])
        assert await names(account.contact_lists.contacts(vip.id, search="an")) == []
        await account.contact_lists.remove([vip.id], [bruno.id])
        assert await names(account.contact_lists.contacts(vip.id)) == []
        assert len(await names(account.contacts.list())) == 2
        with pytest.raises(NotFoundError):
            await account.contact_lists.remove_association(first.ids[0])

    async def test_a_deleted_list_is_shown_only_when_asked_for(self, account: QlaraClient) -> None:
        made = [await account.contact_lists.create(name) for name in ("A", "B")]
        await account.contact_lists.delete([made[0].id])
        assert [item.name async for item in account.contact_lists.list()] == ["B"]
        assert [item.name async for item in account.contact_lists.list(include_deleted=True)] == ["A", "B"]
        assert [item.name async for item in account.contact_lists.list(ids=[made[1].id], search="b")] == ["B"]
        with pytest.raises(NotFoundError):
            [item async for item in account.contact_lists.contacts(made[0].id)]

    @pytest.mark.parametrize(
        ("said", "ids"),
        [
            (b"[1, 2]", (1, 2)),
            (b'{"ids": ["a"], "n": 1}', ("a",)),
            (b'[{"id": 7, "listId": 1}, null, true]', (7,)),
            (b"", ()),
            (b'"done"', ()),
            (b"{}", ()),
        ],
    )
    async def test_the_ids_of_associations_are_found_however_they_are_laid_out(
        self, said: bytes, ids: tuple[object, ...], qlara: QlaraClient, gateway: WireGateway
    ) -> None:
        gateway.default = answer(201, said)
        added = await qlara.contact_lists.add([1], [2])
        assert added.ids == ids
        body = {"listIds": [1], "contactIds": [2], "allContacts": False}
        assert json.loads(gateway.seen[0].body) == body

    async def test_a_wrong_list_is_a_400_with_its_field(self, account: QlaraClient) -> None:
        contact = await account.contacts.create(email="a@b.it")
        with pytest.raises(BadRequestError, match="listIds"):
            await account.contact_lists.add([99], [contact.id])


def workbook() -> bytes:
    """A small xlsx as a spreadsheet program writes it: shared and inline texts, and an empty cell left out."""
    main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    texts = ["firstName", "lastName", "phoneNumber", "Anna", "+393401234567"]
    strings = "".join(f"<si><t>{text}</t></si>" for text in texts)
    rows = (
        '<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>1</v></c><c r="C1" t="s"><v>2</v></c></row>'
        '<row r="2"><c r="A2" t="s"><v>3</v></c><c r="C2" t="s"><v>4</v></c></row>'
        '<row r="3"><c r="A3" t="inlineStr"><is><t>Bru</t><t>no</t></is></c><c r="B3" t="str"><v>Verdi</v></c>'
        '<c r="C3" t="inlineStr"><is><t>+393401234568</t></is></c></row>'
    )
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("xl/sharedStrings.xml", f"<sst {main}>{strings}</sst>")
        book.writestr("xl/worksheets/sheet1.xml", f"<worksheet {main}><sheetData>{rows}</sheetData></worksheet>")
        book.writestr("xl/worksheets/sheet2.xml", f"<worksheet {main}><sheetData/></worksheet>")
    return content.getvalue()


class TestImport:
    CSV = b"firstName;lastName;phoneNumber\nAnna;Rossi;+393401234567\nBruno;Verdi;+393401234568\n"

    async def test_a_file_becomes_contacts_on_a_list(self, account: QlaraClient, tmp_path: Path) -> None:
        path = tmp_path / "people.csv"
        path.write_bytes(self.CSV)
        vip = await account.contact_lists.create("VIP")
        preview = await account.contacts.import_file(path, list_id=vip.id, preview=1)
        assert preview.rows == ({"firstName": "Anna", "lastName": "Rossi", "phoneNumber": "+393401234567"},)
        assert preview.summary == {"total": 2}
        assert await names(account.contact_lists.contacts(vip.id)) == ["Anna Rossi", "Bruno Verdi"]

    async def test_a_workbook_becomes_contacts(self, account: QlaraClient, tmp_path: Path) -> None:
        path = tmp_path / "people.xlsx"
        path.write_bytes(workbook())
        preview = await account.contacts.import_file(path)
        assert preview.summary == {"total": 2}
        found = {contact.first_name: contact.phone_number async for contact in account.contacts.list()}
        assert found == {"Anna": "+393401234567", "Bruno": "+393401234568"}
        assert await names(account.contacts.list()) == ["Anna", "Bruno Verdi"]
        for content, name in ((b"no workbook", "x.xlsx"), (workbook()[:-30], "x.xlsx"), (b"", "x.xls")):
            with pytest.raises(BadRequestError):
                await account.contacts.import_file(content, file_name=name)

    async def test_who_is_known_by_number_is_changed_and_not_doubled(self, account: QlaraClient) -> None:
        await account.contacts.create(phone_number="+393401234567", first_name="Ana")
        await account.contacts.import_file(self.CSV, file_name="people.csv")
        assert await names(account.contacts.list()) == ["Anna Rossi", "Bruno Verdi"]

    async def test_a_head_is_left_out_when_told(self, account: QlaraClient) -> None:
        await account.contacts.import_file(
            b"a,b,c,d\nAnna,Rossi,+393401234567,a@b.it\n", file_name="people.txt", remove_head=True
        )
        assert await names(account.contacts.list()) == ["Anna Rossi"]

    async def test_vcards_become_contacts(self, account: QlaraClient) -> None:
        card = b"BEGIN:VCARD\r\nVERSION:3.0\r\nN:Rossi;Anna;;;\r\nTEL;TYPE=CELL:+393401234567\r\nEND:VCARD\r\n"
        await account.contacts.import_vcard(card, file_name="anna.VCF")
        assert await names(account.contacts.list()) == ["Anna Rossi"]
        with pytest.raises(BadRequestError):
            await account.contacts.import_vcard(b"nothing", file_name="anna.vcf")

    async def test_an_import_that_cannot_work_costs_no_request(self, account: QlaraClient, sandbox: Sandbox) -> None:
        for bad in (
            account.contacts.import_file(b"x"),
            account.contacts.import_vcard(b"x", file_name="people.csv"),
            account.contacts.import_file(b"x", file_name="people.csv", preview=0),
            account.contacts.import_file(5, file_name="people.csv"),  # type: ignore[arg-type]
        ):
            with pytest.raises(ConfigurationError):
                await bad
        with pytest.raises(TransferError, match="no such file"):
            await account.contacts.import_file("/nowhere/people.csv")
        assert list(sandbox.arrivals) == []

    async def test_what_is_no_form_or_has_no_file_is_refused(self, sandbox: Sandbox) -> None:
        url = f"{sandbox.url}{CONTACTS}/upload"
        async with aiohttp.ClientSession(headers={"X-Api-Key": sandbox.api_key}) as session:
            async with session.post(url, json={}) as got:
                assert got.status == 415
            with aiohttp.MultipartWriter("form-data") as form:
                form.append("people.csv").set_content_disposition("form-data", name="fileName")
            async with session.post(url, data=form) as got:
                assert (got.status, (await got.json())["message"]) == (400, "Part `file` is required")
            async with session.post(url, data=io.BytesIO(b"x" * (17 << 20))) as got:
                assert got.status == 413


class TestSandbox:
    @pytest.mark.parametrize(
        ("method", "path", "body", "status"),
        [
            ("GET", f"{CONTACTS}/x", None, 400),
            ("GET", f"{CONTACTS}/99999", None, 404),
            ("GET", f"{CONTACTS}?limit=1001", None, 400),
            ("GET", f"{CONTACTS}?isValid=maybe", None, 400),
            ("POST", CONTACTS, b"{}", 400),
            ("POST", CONTACTS, b'{"phoneNumber": 5}', 400),
            ("POST", CONTACTS, b'{"phoneNumber": "340"}', 400),
            ("POST", CONTACTS, b"{", 400),
            ("POST", CONTACTS, b"\xff", 400),
            ("DELETE", CONTACTS, None, 400),
            ("PATCH", CONTACTS, None, 405),
            ("DELETE", f"{CONTACTS}/list", None, 400),
            ("POST", f"{CONTACTS}/list", b'{"name": ""}', 400),
            ("GET", f"{CONTACTS}/list/99/contacts", None, 404),
            ("DELETE", f"{CONTACTS}/list/contacts", b'{"listIds": []}', 400),
            ("GET", f"{CONTACTS}/list/contacts/1/2", None, 404),
            ("GET", f"{CONTACTS}//list", None, 404),
        ],
    )
    async def test_what_is_wrong_is_answered_as_documented(
        self, method: str, path: str, body: bytes | None, status: int, sandbox: Sandbox
    ) -> None:
        async with aiohttp.ClientSession(headers={"X-Api-Key": sandbox.api_key}) as session:
            async with session.request(method, sandbox.url + path, data=body) as got:
                said = await got.json()
        assert (got.status, said["status"]) == (status, status)

    async def test_a_resource_needs_the_key(self, sandbox: Sandbox) -> None:
        async with aiohttp.ClientSession() as session, session.get(sandbox.url + CONTACTS) as got:
            assert got.status == 401
        assert sandbox.requests["platform", 401] == 1
