from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qlara_async.errors import InvalidMessageError
from qlara_async.models.text import Segments, check_placeholders, placeholder_names, render, segments, strings

# The tables of 3GPP TS 23.038 §6.2.1, row by row as the document prints them.
BASIC = set(
    "@£$¥èéùìòÇ\nØø\rÅå"
    "Δ_ΦΓΛΩΠΨΣΘΞÆæßÉ"
    " !\"#¤%&'()*+,-./"
    "0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNO"
    "PQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmno"
    "pqrstuvwxyzäöñüà"
)
EXTENSION = set("\f^{}\\[~]|€")

gsm_texts = st.text(st.sampled_from(sorted(BASIC | EXTENSION)), max_size=800)
edgy_gsm_texts = st.lists(st.sampled_from(["a" * 50, "a" * 51, "a", "€", "[]", "€" * 20]), max_size=30).map("".join)
edgy_ucs2_texts = st.lists(st.sampled_from(["я" * 22, "я" * 23, "я", "a", "😀", "😀" * 9]), max_size=30).map("".join)
headers = st.one_of(st.just(0), st.integers(0, 120))


def reference(text: str, udh_octets: int) -> Segments:
    """One character after the other into one part after the other, in bits."""
    gsm = all(character in BASIC or character in EXTENSION for character in text)
    bits = 7 if gsm else 16

    def units(character: str) -> int:
        if gsm:
            return 2 if character in EXTENSION else 1
        return 2 if ord(character) > 0xFFFF else 1

    total = sum(map(units, text))
    encoding = "GSM-7" if gsm else "UCS-2"
    room = (140 - udh_octets) * 8 // bits
    if total <= room:
        return Segments(encoding, 1, total, room)  # type: ignore[arg-type]
    header = udh_octets + 5 if udh_octets else 6
    room = (140 - header) * 8 // bits
    filled = [0]
    for character in text:
        if filled[-1] + units(character) > room:
            filled.append(0)
        filled[-1] += units(character)
    return Segments(encoding, len(filled), total, room)  # type: ignore[arg-type]


@given(st.one_of(gsm_texts, edgy_gsm_texts, edgy_ucs2_texts, st.text(max_size=300)), headers)
@example("a" * 152 + "€" + "a" * 8, 0)
@example("я" * 66 + "😀" + "я" * 3, 0)
def test_segments_agree_with_filling_parts_character_by_character(text: str, udh_octets: int) -> None:
    assert segments(text, udh_octets=udh_octets) == reference(text, udh_octets)


@pytest.mark.parametrize(
    ("text", "encoding", "parts", "units", "per_part"),
    [
        ("", "GSM-7", 1, 0, 160),
        ("a" * 160, "GSM-7", 1, 160, 160),
        ("a" * 161, "GSM-7", 2, 161, 153),
        ("a" * 306, "GSM-7", 2, 306, 153),
        ("a" * 307, "GSM-7", 3, 307, 153),
        ("€" * 80, "GSM-7", 1, 160, 160),
        ("a" * 152 + "€" + "a" * 152, "GSM-7", 3, 306, 153),  # 306 septets, but € may not straddle 153/154
        ("a" * 151 + "€" + "a" * 153, "GSM-7", 2, 306, 153),
        ("€" * 153, "GSM-7", 3, 306, 153),  # 76 a part
        ("я" * 70, "UCS-2", 1, 70, 70),
        ("я" * 71, "UCS-2", 2, 71, 67),
        ("😀" * 35, "UCS-2", 1, 70, 70),
        ("я" * 66 + "😀" + "я" * 66, "UCS-2", 3, 134, 67),  # the emoji may not straddle 67/68
        ("я" * 65 + "😀" + "я" * 67, "UCS-2", 2, 134, 67),
        ("`", "UCS-2", 1, 1, 70),  # ASCII, but in neither GSM table
        ("\x1b", "UCS-2", 1, 1, 70),
        ("ç", "UCS-2", 1, 1, 70),
        ("Ç\f", "GSM-7", 1, 3, 160),
    ],
)
def test_segments_at_the_edges(text: str, encoding: str, parts: int, units: int, per_part: int) -> None:
    found = segments(text)
    assert (found.encoding, found.parts, found.units, found.per_part) == (encoding, parts, units, per_part)


def test_every_character_of_the_gsm_tables_is_gsm() -> None:
    assert len(BASIC) == 127
    assert all(segments(character) == Segments("GSM-7", 1, 1, 160) for character in BASIC)
    assert all(segments(character) == Segments("GSM-7", 1, 2, 160) for character in EXTENSION)


@pytest.mark.parametrize(
    ("udh_octets", "alone", "concatenated"), [(6, 153, 147), (7, 152, 146), (1, 158, 153), (100, 45, 40)]
)
def test_a_header_of_the_callers_own_lessens_the_room(udh_octets: int, alone: int, concatenated: int) -> None:
    assert segments("a" * alone, udh_octets=udh_octets) == Segments("GSM-7", 1, alone, alone)
    assert segments("a" * (alone + 1), udh_octets=udh_octets).per_part == concatenated


@pytest.mark.parametrize("udh_octets", [134, 140, 141, -1])
def test_a_header_that_leaves_no_room_is_an_error(udh_octets: int) -> None:
    with pytest.raises(InvalidMessageError) as caught:
        segments("я" * 71, udh_octets=udh_octets)
    assert caught.value.field == "udh_data"


@given(st.text(st.characters(), max_size=200))
@example("\ud800" * 200)
@example("a\udc00\ud800" * 60)
def test_segments_end_on_any_text_even_with_lone_surrogates(text: str) -> None:
    assert segments(text).parts >= 1


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", set()),
        ("Ciao {nome}, {codice_2} {_x}{nome}", {"nome", "codice_2", "_x"}),
        ("{{1}} {1} {} { nome} {no-me} {è} {", set()),
        ("{{nome}}", {"nome"}),
    ],
)
def test_placeholder_names(text: str, names: set[str]) -> None:
    assert placeholder_names(text) == names


def test_render_fills_known_names_once_and_leaves_the_others() -> None:
    assert render("{a} {b} {c}", {"a": "{b}", "b": "2"}) == "{b} 2 {c}"
    assert render("{a}", None) == "{a}"


@given(st.text(), st.dictionaries(st.sampled_from(["a", "b"]), st.text()))
def test_render_changes_nothing_but_known_placeholders(text: str, values: dict[str, str]) -> None:
    parts = [text, "{a}", text.replace("{", ""), "{b}"]
    expected = render(parts[0], values) + values.get("a", "{a}") + parts[2] + values.get("b", "{b}")
    assert render(parts[0], values) + render("".join(parts[1:]), values) == expected


def test_strings_are_found_however_deep_and_names_are_none() -> None:
    deep: object = "end"
    for _ in range(10_000):
        deep = {"name": [deep]}
    assert list(strings(deep)) == ["end"]
    assert sorted(strings({"k": ["a", {"z": "b"}, 1, None, True]})) == ["a", "b"]


def test_placeholders_in_a_stored_template_may_be_anything_but_known_texts_are_checked() -> None:
    check_placeholders(["{a}"], {"a": "1", "elsewhere": "2"}, stored=True)
    with pytest.raises(InvalidMessageError) as caught:
        check_placeholders(["{a} {b}"], {"a": "1"}, stored=True)
    assert caught.value.field == "placeholders.b"
