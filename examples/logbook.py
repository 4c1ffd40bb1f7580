"""What `examples.flight` sees on its way, and its report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from rich import box
from rich.console import Console
from rich.table import Table

from examples.rows import Row
from qlara_async import BulkSummary, Outcome, RateLimit, Sms
from qlara_async.errors import InvalidMessageError
from qlara_async.sandbox import Sandbox
from qlara_async.webhooks import Stats


@dataclass
class Logbook:
    """What became of the rows, and what the callbacks said.

    Attributes:
        invalid: lines of the file that were not sent, and why.
        parts: accepted message -> delivery callbacks it is due; an SMS has one for each part.
        looked_up: accepted messages whose answers were lost; the client looked them up instead of sending them again.
        deliveries: message -> delivery callbacks that came.
        callbacks: callbacks by status and description.
    """

    invalid: list[tuple[int, InvalidMessageError]] = field(default_factory=list)
    parts: dict[str, int] = field(default_factory=dict)
    looked_up: int = 0
    deliveries: Counter[str | None] = field(default_factory=Counter)
    callbacks: Counter[tuple[str, str]] = field(default_factory=Counter)

    def note(self, outcome: Outcome) -> None:
        """Note what became of a row."""
        if outcome.receipt is not None:
            self.parts[outcome.receipt.message_id] = (
                outcome.message.segments.parts if isinstance(outcome.message, Sms) else 1
            )
            self.looked_up += outcome.receipt.looked_up
        elif isinstance(outcome.error, InvalidMessageError) and isinstance(outcome.item, Row):
            self.invalid.append((outcome.item.line, outcome.error))

    @property
    def complete(self) -> int:
        """Accepted messages whose delivery callbacks all came."""
        return sum(self.deliveries[message_id] == parts for message_id, parts in self.parts.items())


@dataclass(frozen=True)
class Flight:
    """A flight that ended: what the two sides say of it."""

    book: Logbook
    summary: BulkSummary
    stats: Stats
    sandbox: Sandbox
    limit: RateLimit
    elapsed: float


def report(console: Console, flight: Flight) -> None:
    """Print the invalid rows, then everything that can be counted."""
    if flight.book.invalid:
        console.print(invalid_rows(flight.book))
    console.print(counts(flight))


def invalid_rows(book: Logbook) -> Table:
    """List lines and reasons; errors never hold values."""
    table = Table("line", "field", "reason", box=box.SIMPLE, title="Invalid rows, not sent", title_justify="left")
    table.columns[0].justify = "right"
    for line, error in sorted(book.invalid, key=lambda entry: entry[0]):
        table.add_row(str(line), error.field or "", error.reason)
    return table


def counts(flight: Flight) -> Table:
    """Lay the sections out as one table."""
    table = Table("", "", "", box=box.SIMPLE, show_header=False, title="Flight report", title_justify="left")
    table.columns[2].justify = "right"
    for title, lines in sections(flight):
        for number, (what, value) in enumerate(lines):
            table.add_row("" if number else title, what, value)
        table.add_section()
    return table


def sections(flight: Flight) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield title and lines of each section."""
    book, summary, stats, sandbox, limit = flight.book, flight.summary, flight.stats, flight.sandbox, flight.limit
    yield "Outcomes", [(state, f"{count:,}") for state, count in summary.states.items() if count]
    yield (
        "Callbacks",
        [
            *((" ".join(status).strip(), f"{count:,}") for status, count in sorted(book.callbacks.items())),
            ("duplicates dropped", f"{stats.duplicates:,}"),
            ("conflicts", f"{stats.conflicts:,}"),
        ],
    )
    yield (
        "Checks",
        [
            ("accepted, and every delivery callback came", f"{book.complete:,} of {len(book.parts):,}"),
            ("answer lost, and found by looking it up", f"{book.looked_up:,}"),
            ("taken twice by the gateway", f"{sum(times > 1 for times in sandbox.accepted.values()):,}"),
        ],
    )
    yield (
        "Rate",
        [
            ("allowed", f"{limit.per_second:,}/s, {limit.per_minute:,}/min"),
            ("achieved", f"{summary.per_second:,.1f}/s"),
            ("most in any second, at the gateway", f"{sandbox.busiest(1.0):,}"),
            ("answers 429", f"{sandbox.requests['send', 429]:,}"),
        ],
    )
    yield (
        "Elapsed",
        [("sending", f"{summary.elapsed:.1f} s"), ("all, to the last callback", f"{flight.elapsed:.1f} s")],
    )
