"""`Listing`: lazy, exact to its limit, begun anew each time, and clear about its errors."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from qlara_async import QlaraClient
from qlara_async.errors import ConfigurationError, NotFoundError, UndecodableAnswerError

from .wire import Seen, WireGateway, answer

pytestmark = pytest.mark.anyio


def page(first: int, count: int, total: int | None = None) -> Any:
    items = [{"id": number} for number in range(first, first + count)]
    body: Any = items if total is None else {"content": items, "totalElements": total}
    return answer(200, json.dumps(body).encode())


def asked(seen: Seen) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(seen.target).query).items()}


async def test_items_come_from_page_after_page_until_one_is_short(qlara: QlaraClient, gateway: WireGateway) -> None:
    gateway.script = [page(0, 3), page(3, 3), page(6, 1)]
    assert [contact.id async for contact in qlara.contacts.list(page_size=3)] == list(range(7))
    assert [asked(seen) for seen in gateway.seen] == [{"page": str(number), "limit": "3"} for number in range(3)]


async def test_nothing_is_asked_for_before_it_is_needed(qlara: QlaraClient, gateway: WireGateway) -> None:
    gateway.default = page(0, 3)
    listing = qlara.contacts.list(page_size=3)
    assert gateway.seen == []
    async for contact in listing:
        if contact.id == 2:
            break
    assert len(gateway.seen) == 1


async def test_a_limit_is_exact_and_spares_requests(qlara: QlaraClient, gateway: WireGateway) -> None:
    gateway.script = [page(0, 3), page(3, 3)]
    assert [contact.id async for contact in qlara.contacts.list(limit=5, page_size=3)] == [0, 1, 2, 3, 4]
    assert len(gateway.seen) == 2
    gateway.script = [page(0, 2)]
    assert [contact.id async for contact in qlara.contacts.list(limit=2)] == [0, 1]
    assert asked(gateway.seen[-1])["limit"] == "2"
    assert [contact async for contact in qlara.contacts.list(limit=0)] == []
    assert len(gateway.seen) == 3


async def test_pages_have_number_items_and_total(qlara: QlaraClient, gateway: WireGateway) -> None:
    gateway.script = [page(0, 2, total=3), page(2, 1, total=3)]
    pages = [page async for page in qlara.contacts.list(page_size=2).pages()]
    assert [(page.number, [item.id for item in page.items], page.total) for page in pages] == [
        (0, [0, 1], 3),
        (1, [2], 3),
    ]
    assert repr(pages[0]) == "Page(number=0, <2 items>, total=3)"


async def test_each_iteration_begins_anew(qlara: QlaraClient, gateway: WireGateway) -> None:
    gateway.default = page(0, 1)
    listing = qlara.contacts.list()
    assert [contact.id async for contact in listing] == [contact.id async for contact in listing] == [0]
    assert len(gateway.seen) == 2


async def test_filters_go_with_every_page(qlara: QlaraClient, gateway: WireGateway) -> None:
    gateway.script = [page(0, 1), page(1, 0)]
    listing = qlara.contacts.list(search="Rossi", list_ids=[1, 2], communication_supported="sms", page_size=1)
    assert [contact.id async for contact in listing] == [0]
    for seen in gateway.seen:
        assert seen.target.startswith("/api/partner-gateway/v1/contacts?")
        filters = {"search": "Rossi", "listIds": "1,2", "communicationSupported": "SMS", "limit": "1"}
        assert filters.items() <= asked(seen).items()


@pytest.mark.parametrize(
    "bad",
    [
        {"page_size": 0},
        {"page_size": 1001},
        {"limit": -1},
        {"limit": 1.5},
        {"list_ids": "12"},
        {"list_ids": []},
        {"is_valid": "yes"},
        {"communication_supported": "fax"},
        {"sort_order": "up"},
    ],
)
async def test_bad_input_is_an_error_before_anything_is_iterated(
    bad: dict[str, Any], qlara: QlaraClient, gateway: WireGateway
) -> None:
    with pytest.raises(ConfigurationError):
        qlara.contacts.list(**bad)
    assert gateway.seen == []


async def test_an_answer_without_a_list_is_undecodable(qlara: QlaraClient, gateway: WireGateway) -> None:
    gateway.default = answer(200, b'{"id": 5}')
    with pytest.raises(UndecodableAnswerError):
        [contact async for contact in qlara.contacts.list()]


async def test_an_id_stays_one_segment_on_the_wire(qlara: QlaraClient, gateway: WireGateway) -> None:
    gateway.script = [answer(200, b'{"id": 5}'), answer(404)]
    assert (await qlara.contacts.get("../webhooks/delivery-status?x#y")).id == 5
    assert gateway.seen[0].target == "/api/partner-gateway/v1/contacts/..%2Fwebhooks%2Fdelivery-status%3Fx%23y"
    with pytest.raises(NotFoundError):
        await qlara.contacts.get(5)
    with pytest.raises(ConfigurationError):
        await qlara.contacts.get("..")
    assert len(gateway.seen) == 2


async def test_a_view_has_resources_with_its_own_options(qlara: QlaraClient) -> None:
    view = qlara.with_options(priority=None)
    assert qlara.contacts is qlara.contacts
    assert view.contacts is not qlara.contacts
