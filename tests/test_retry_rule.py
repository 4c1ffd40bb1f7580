from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from qlara_async import errors
from qlara_async.errors import ApiError, ConnectionFailed, QlaraError, RateLimitError, RequestTimeout, Sent
from qlara_async.models.options import RetryPolicy
from qlara_async.protocol.retry import Repeat, backoff_waits, reason_to_repeat, wait_before_repeat

SENT: st.SearchStrategy[Sent] = st.sampled_from(["no", "maybe"])
ERRORS = st.one_of(
    SENT.map(lambda sent: ConnectionFailed("x", sent=sent)),
    SENT.map(lambda sent: RequestTimeout("x", phase="read", sent=sent)),
    st.sampled_from([400, 401, 403, 404, 409, 422]).map(ApiError),
    st.sampled_from([500, 502, 503, 504]).map(errors.ServerError),
    st.one_of(st.none(), st.floats(0, 500)).map(lambda seconds: RateLimitError(retry_after=seconds)),
)


def decide(error: QlaraError, policy: RetryPolicy, **given: object) -> Repeat | None:
    facts: dict[str, object] = {"repeatable": False, "attempt": 1, "elapsed": 0.0, "wait": 1.0, "random": 0.5} | given
    return wait_before_repeat(error, policy, **facts)  # type: ignore[arg-type]


@given(ERRORS)
def test_g1_a_send_is_repeated_only_when_provably_not_sent_or_refused_by_the_limit(error: QlaraError) -> None:
    sent: Sent | None = getattr(error, "sent", None)
    allowed = sent == "no" or isinstance(error, RateLimitError)
    assert (reason_to_repeat(error, repeatable=False) is not None) is allowed


def test_g1_a_503_with_retry_after_proves_nothing() -> None:
    assert decide(errors.ServerError(503, retry_after=1.0), RetryPolicy()) is None
    assert decide(errors.ServerError(503, retry_after=1.0), RetryPolicy(), repeatable=True) is not None


@given(
    ERRORS, st.floats(0, 64), st.floats(0, 1, exclude_max=True), st.integers(1, 12), st.floats(0, 400), st.booleans()
)
def test_g3_the_wait_never_undercuts_the_floor_nor_outlasts_the_policy(
    error: QlaraError, wait: float, random: float, attempt: int, elapsed: float, repeatable: bool
) -> None:
    policy = RetryPolicy(max_attempts=8, max_wait=100.0, max_elapsed=300.0)
    repeat = decide(error, policy, wait=wait, random=random, attempt=attempt, elapsed=elapsed, repeatable=repeatable)
    if repeat is None:
        return
    asked = (error.retry_after or 0.0) if isinstance(error, ApiError) else 0.0
    assert repeat.delay >= max(asked, wait)
    assert repeat.delay <= max(asked, wait) + 1.0
    assert asked <= policy.max_wait
    assert elapsed + repeat.delay <= policy.max_elapsed
    assert attempt < policy.max_attempts
    assert repeat.floor == (max(asked, wait) if isinstance(error, RateLimitError) else 0.0)


def test_waits_double_from_one_second_up_to_the_cap() -> None:
    assert list(itertools.islice(backoff_waits(RetryPolicy(max_wait=10.0)), 6)) == [1, 2, 4, 8, 10.0, 10.0]
