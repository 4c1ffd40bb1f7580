"""``client.credit_watch``: tells when the account's credit falls low."""

from __future__ import annotations

import asyncio
import logging
import math
from types import TracebackType
from typing import Self

from ..errors import ClientStateError, ConfigurationError, QlaraError
from ..loggers import client_logger
from ..models.account import Credit
from ..models.telemetry import CreditLow
from ..protocol.operations.account import GET_CREDIT
from .api import Api

__all__ = ["CreditWatch"]


class CreditWatch:
    """Asks for the credit every so often, and tells `CreditLow` when it is below the threshold.

    It is told once, and again when the credit has been above meanwhile. Use it as ``async with``; it ends with the
    block, or when the client is closed. A question that fails is logged, and asked again at the next turn.

    Attributes:
        credit: as last told by the gateway; ``None`` before the first answer.
        low: whether that is below the threshold.
    """

    def __init__(self, api: Api, *, threshold: float, every: float) -> None:
        if not (0 <= threshold < math.inf and 0 < every < math.inf):
            raise ConfigurationError("threshold is an amount of credit, from 0; every is in seconds, above 0")
        self.credit: Credit | None = None
        self.low = False
        self._api = api
        self._threshold = threshold
        self._every = every
        self._failures = 0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if self._task is not None:
            raise ConfigurationError("this watch is over, or runs already: make another")
        self._task = asyncio.create_task(self._run(), name="qlara-credit-watch")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.result()

    async def _run(self) -> None:
        try:
            while True:
                await self._look()
                await self._api.clock.sleep(self._every)
        except ClientStateError:
            client_logger.info("the credit is no longer watched: the client was closed")

    async def _look(self) -> None:
        try:
            credit = await self._api.get(GET_CREDIT, Credit)
        except ClientStateError:
            raise
        except QlaraError as error:
            self._failed(type(error).__name__)
            return
        left = credit.credit if credit.available is None else credit.available
        if left is None:
            self._failed("no amount in the answer")
            return
        self._failures = 0
        self.credit = credit
        was_low, self.low = self.low, left < self._threshold
        if self.low and not was_low:
            client_logger.warning("the credit is low: %.2f, below %.2f", left, self._threshold)
            self._api.caller.tell(CreditLow(available=left, threshold=self._threshold))

    def _failed(self, why: str) -> None:
        # The first is news; those after it repeat what somebody has been told.
        level = logging.INFO if self._failures else logging.WARNING
        self._failures += 1
        client_logger.log(level, "the credit could not be asked for (%s); next in %g s", why, self._every)

    def __repr__(self) -> str:
        return f"CreditWatch({self.credit!r}, low={self.low})"
