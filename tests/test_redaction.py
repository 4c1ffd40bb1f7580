from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qlara_async.protocol.redaction import scrub


def test_field_names_and_the_explanation_stay_readable() -> None:
    text = "Field 'destination' is not valid: +39 340 123 4567 (body was 'Ciao Anna')"
    assert scrub(text, ["+393401234567", "Ciao Anna"]) == "Field 'destination' is not valid: … (body was '… …')"


def test_things_like_keys_are_masked() -> None:
    assert scrub("Invalid key ak_live_51H8s9JdK2eZvKYlo2C0aXy") == "Invalid key …"


@given(st.text(), st.text(min_size=2))
def test_no_word_of_the_request_survives(prefix: str, value: str) -> None:
    shown = scrub(f"{prefix} {value} bad", [value])
    words = {word for word in value.split() if len(word) >= 2 and word.isalnum()}
    assert not words & set(shown.split())


@given(st.text(alphabet="0123456789 +-.()", min_size=1, max_size=40))
def test_no_run_of_five_digits_survives(text: str) -> None:
    assert not any(
        sum(c.isdigit() for c in run) >= 5 for run in scrub(text).replace("…", "|").split("|") if run.isdigit()
    )


@given(st.text(max_size=3000))
def test_the_result_is_printable_and_bounded(text: str) -> None:
    shown = scrub(text)
    assert len(shown) <= 301
    assert shown.isprintable()
