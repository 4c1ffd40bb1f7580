from __future__ import annotations

import copy
import inspect
import pickle
import re

import pytest

from qlara_async import errors
from qlara_async.errors import (
    ApiError,
    DeliveryUnknownError,
    InvalidMessageError,
    JournalLockedError,
    JournalMismatchError,
    MessageRejectedError,
    NotSentError,
    QlaraError,
    RateLimitError,
    RequestTimeout,
    TransportError,
    UndecodableAnswerError,
)

CLASSES = [item for item in vars(errors).values() if inspect.isclass(item) and issubclass(item, QlaraError)]


def specimen(kind: type[QlaraError]) -> QlaraError:
    if issubclass(kind, RateLimitError):
        return kind(
            code=9, detail="slow down", retry_after=12.0, attempts=3, message_id="m-1", body=b"{}", retry_at=5.0
        )
    if issubclass(kind, ApiError):
        return kind(
            418, code="x", field="sender", detail="said so", retry_after=1.0, attempts=2, message_id="m-1", body=b"{}"
        )
    if issubclass(kind, MessageRejectedError):
        return kind(reasons=["blocked"], message_id="m-1", attempts=2, body=b"{}")
    if issubclass(kind, UndecodableAnswerError):
        return kind("no JSON", status=200, body=b"<")
    if issubclass(kind, RequestTimeout):
        return kind("late", phase="read", sent="maybe", attempts=2, message_id="m-1")
    if issubclass(kind, TransportError):
        return kind("broke", sent="no", attempts=2, message_id="m-1")
    if issubclass(kind, JournalLockedError):
        return kind("in use", pid=7, host="here", since=5.0)
    if issubclass(kind, JournalMismatchError):
        return kind(7)
    if issubclass(kind, NotSentError):
        return kind("not now", reason="because", message_id="m-1")
    if issubclass(kind, InvalidMessageError):
        return kind("must be E.164", field="destination")
    return kind("why")


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    "duplicate", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy], ids=["pickle", "copy", "deepcopy"]
)
def test_every_error_survives_pickling_and_copying_with_all_it_knows(kind: type[QlaraError], duplicate) -> None:  # type: ignore[no-untyped-def]
    error = specimen(kind)
    twin = duplicate(error)
    assert type(twin) is kind
    assert twin is not error
    assert vars(twin) == vars(error)
    assert str(twin) == str(error)
    assert twin.args == error.args


def test_the_tree_drawn_in_the_docstring_is_the_tree() -> None:
    drawn = set(re.findall(r"^\s*[│├└─ ]*\b([A-Z]\w+)", errors.__doc__ or "", re.MULTILINE)) - {"Texts"}
    assert {kind.__name__ for kind in CLASSES} == {name for name in drawn if hasattr(errors, name)}


def test_all_errors_are_exported() -> None:
    assert {kind.__name__ for kind in CLASSES} <= set(errors.__all__)
    assert errors.__all__ == sorted(errors.__all__)


def test_builtin_counterparts_catch_ours() -> None:
    assert issubclass(RequestTimeout, TimeoutError)
    assert issubclass(InvalidMessageError, ValueError)


def test_an_error_text_says_what_happened_which_message_and_what_to_do() -> None:
    error = errors.UnprocessableError(422, detail="destination is wrong", message_id="m-7", attempts=2)
    assert str(error) == (
        "the gateway answered 422: destination is wrong — check the phone format, the template variables and the media "
        "(message m-7, 2 attempts)"
    )
    assert "m-8" in str(DeliveryUnknownError("unclear", message_id="m-8"))
