"""The doorkeeper: puts a request before every check, and keeps the reasons to itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime

from ...clock import Clock
from ...errors import ConfigurationError
from ...loggers import webhooks_logger
from ...models.trust import Trust
from ...protocol.credentials import Reason
from ..exchange import NOT_FOUND, Answer, Head
from .check import AllOf, Auth

__all__ = ["Doorkeeper"]

_WARN_EVERY = 60.0
_PREFERENCE = {404: 0, 401: 1}  # a token in the URL hides the receiver; a challenge says what is missing


class Doorkeeper:
    """Admits requests that every check lets pass.

    Args:
        auth: the checks.
        insecure: there may be none, or only such that report.
        clock: for times seen and signed.

    Attributes:
        trust: what vouches for a request that was admitted: the strongest check that does not only report.
        refusals: requests refused, by reason.
        reported: requests let pass that a check with ``report_only`` would have refused, by reason.

    Raises:
        ConfigurationError: nothing would ever be refused, and ``insecure`` does not say so.
    """

    def __init__(self, auth: Auth | AllOf | None, *, insecure: bool, clock: Clock) -> None:
        self._checks: tuple[Auth, ...] = () if auth is None else auth.checks
        self._body_checks = [check for check in self._checks if type(check).judge_body is not Auth.judge_body]
        # What only reports is asked once: by the body, if it looks at that.
        self._head_checks = [check for check in self._checks if not (check.report_only and check in self._body_checks)]
        enforced = [check for check in self._checks if not check.report_only]
        if not enforced and not insecure:
            raise ConfigurationError(
                "every auth of the receiver is report_only, so it takes anyone's word: add one that is not, such as "
                "UrlToken(...), or pass insecure=True if that is what you want"
            )
        self._any_path = not enforced or any(check.owns_path for check in enforced)
        answers = [check.answer for check in enforced] or [NOT_FOUND]
        self._answer = min(answers, key=lambda answer: _PREFERENCE.get(answer.status, 2))
        vouching = [Trust.UNVERIFIED, *(check.trust for check in enforced)]
        self.trust = max(vouching, key=lambda trust: trust.strength)
        self._clock = clock
        self.refusals: Counter[str] = Counter()
        self.reported: Counter[str] = Counter()
        self._next_warning: dict[str, float] = {}

    @property
    def replay_window(self) -> float:
        """Seconds for which a request read off the wire would be admitted again, as far as a check bounds it."""
        return max((check.replay_window for check in self._checks), default=0.0)

    @property
    def last_seen(self) -> dict[str, datetime | None]:
        """When each secret was last used, by trust and name: ``"url-token #1"``."""
        return {f"{check.trust} {name}": time for check in self._checks for name, time in check.last_seen.items()}

    @property
    def clock_skew(self) -> float | None:
        """Our time less the time signed, in seconds, of the last request that was rightly signed."""
        skews = [check.clock_skew for check in self._checks]
        return next((skew for skew in skews if skew is not None), None)

    def judge_head(self, head: Head) -> Answer | None:
        """Return the answer to a request that is refused by its head, ``None`` if its body is worth reading."""
        if not self._any_path and head.path not in {"", "/"}:
            self._refuse(Reason.UNKNOWN_PATH)
            return NOT_FOUND
        now = self._clock.time()
        return self._judge(self._head_checks, lambda check: check.judge_head(head, now))

    def judge_body(self, head: Head, body: bytes) -> Answer | None:
        """Return the answer to a request that is refused by its body, ``None`` if it is genuine."""
        if not self._body_checks:
            return None
        now = self._clock.time()
        return self._judge(self._body_checks, lambda check: check.judge_body(head, body, now))

    def _judge(self, checks: Sequence[Auth], judge: Callable[[Auth], Reason | None]) -> Answer | None:
        """Ask every check, also after one has refused: how long it takes does not tell which."""
        refusal = None
        for check in checks:
            try:
                reason = judge(check)
            except Exception as error:
                # A traceback would show the request.
                self._warn(f"auth {type(check).__name__} raised {type(error).__name__}")
                reason = Reason.FAILED
            if reason is not None and check.report_only:
                self.reported[reason.value] += 1
                self._warn(f"report only: a request would be refused, {reason.value}")
            else:
                refusal = refusal or reason
        if refusal is None:
            return None
        self._refuse(refusal)
        return self._answer

    def _refuse(self, reason: Reason) -> None:
        self.refusals[reason.value] += 1
        self._warn(f"refused a request, {reason.value}")

    def _warn(self, what: str) -> None:
        # Once a minute each: a wrong token after a rotation must show, a scanner must not fill the disk.
        now = self._clock.monotonic()
        if now >= self._next_warning.get(what, now):
            self._next_warning[what] = now + _WARN_EVERY
            webhooks_logger.warning("%s; more within a minute are not logged", what)
