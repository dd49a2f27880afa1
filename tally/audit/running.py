"""Runs the audit: waits for messages in flight, then compares until a difference either goes or has outlived them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tally.audit.checks import check, in_flight
from tally.audit.collecting import Collector, Sources
from tally.audit.report import Finding, Report
from tally.audit.views import Books
from tally.reading.groups import lags
from tally.reading.workers import NotServed

# How long a difference may last before it counts: longer than any step's own time-out.
SETTLE_S = 30.0
_ROUND_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True)
class Round:
    """What one look at the books found; `unsettled` counts orders whose saga still works on them."""

    findings: list[Finding]
    unsettled: int
    books: Books | None


def audit(sources: Sources, settle_s: float = SETTLE_S, say: Callable[[str], None] = lambda _: None) -> Report:
    """The verdict over everything that the sources hold.

    Raises Unreachable and SourceUnreachable when a server does not answer.
    """
    began = time.monotonic()
    _wait_for_groups(sources.kafka, began + settle_s, say)
    collector = Collector(sources)
    try:
        last = _rounds(lambda: look(collector), settle_s, say)
    finally:
        collector.close()
    figures = {} if last.books is None else count(last.books)
    return Report(tuple(last.findings), {**figures, "seconds": round(time.monotonic() - began, 1)})


def look(collector: Collector) -> Round:
    """One round: collect and compare."""
    try:
        books = collector.collect()
    except NotServed as error:
        return Round([Finding("tables-are-served", "workers", str(error))], 0, None)
    unsettled = sum(
        order.status != "" and in_flight(books, order_id) for order_id, order in books.histories.orders.items()
    )
    return Round(check(books), unsettled, books)


def count(books: Books) -> dict[str, int | float]:
    """What was looked at."""
    histories = books.histories
    by_status: dict[str, int] = {}
    for order in histories.orders.values():
        by_status[f"orders_{order.status.lower()}"] = by_status.get(f"orders_{order.status.lower()}", 0) + 1
    return {
        "records": histories.records,
        "orders": len(histories.orders),
        **dict(sorted(by_status.items())),
        "payments": len(histories.payments),
        "skus": len(histories.stock),
        "holds": len(histories.holds),
        "units_on_hand": sum(level.on_hand for level in histories.stock.values()),
        "units_reserved": sum(level.reserved for level in histories.stock.values()),
        "outbox_rows": sum(len(service.outbox) for service in books.services.values()),
        "table_rows": sum(len(rows) for rows in books.tables.values()),
        "copies": sum(len(rows) for rows in books.copies.values()),
        "dead_letters": len(histories.letters),
    }


def _rounds(take: Callable[[], Round], settle_s: float, say: Callable[[str], None]) -> Round:
    """Rounds until nothing is open, or until what was found in every one of them has lasted for `settle_s`."""
    began = time.monotonic()
    last = take()
    lasting = set(last.findings)
    while (lasting or last.unsettled) and time.monotonic() - began < settle_s:
        say(f"{len(lasting)} differences and {last.unsettled} orders in flight; looking again")
        time.sleep(_ROUND_PAUSE_S)
        last = take()
        lasting &= set(last.findings)
    return Round(sorted(lasting), last.unsettled, last.books)


def _wait_for_groups(bootstrap: str, until_s: float, say: Callable[[str], None]) -> None:
    """Waits until the groups have read everything, or until the time is up: what lags then shows in the comparison."""
    while True:
        behind = sum(lag.lag for lag in lags(bootstrap))
        if behind == 0 or time.monotonic() > until_s:
            return
        say(f"{behind} records in flight")
        time.sleep(_ROUND_PAUSE_S / 2)
