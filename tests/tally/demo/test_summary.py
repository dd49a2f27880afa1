"""The demo's verdict: what it counts, and what it does not let pass."""

from __future__ import annotations

import pytest

from tally.audit.report import Finding, Report
from tally.demo.ledger import Ledger
from tally.demo.summary import Played, document, latency, lines_to_copy


def ledger() -> Ledger:
    """Three orders: one shipped, one rejected, one confirmed."""
    made = Ledger()
    for invoice, order_id in (("1", "a"), ("2", "b"), ("3", "c")):
        made.see("ORDER_CREATED", order_id, None, 1.0)
        made.placed(invoice, order_id)
    made.see("ORDER_CONFIRMED", "a", None, 1.1)
    made.see("ORDER_SHIPPED", "a", None, 1.2)
    made.see("ORDER_REJECTED", "b", "INSUFFICIENT_STOCK", 1.3)
    made.see("ORDER_CONFIRMED", "c", None, 1.4)
    made.short_skus["rare one"] += 1
    return made


def played(made: Ledger, audit: Report | None = None, peak_bytes: int = 1) -> Played:
    return Played(
        ledger=made,
        audit=audit or Report((), {"records": 9}),
        invoices=3,
        receipts=10,
        received_within_s=2.0,
        played_within_s=1.5,
        first_confirmed_after_s=3.0,
        peak_bytes=peak_bytes,
        worker_pid=77,
        plentiful_sku="many",
    )


def test_a_run_in_which_everything_held_is_ok() -> None:
    summed_up = document(played(ledger()))
    assert summed_up["ok"] is True
    figures = summed_up["figures"]
    assert figures["orders_by_status"] == {"CONFIRMED": 1, "REJECTED": 1, "SHIPPED": 1}
    assert figures["refusals_by_reason"] == {"INSUFFICIENT_STOCK": 1}
    assert (figures["receipts_per_s"], figures["orders_per_s"]) == (5, 2.0)
    assert figures["audit"] == {"records": 9}


@pytest.mark.parametrize("fault", ["audit", "trouble", "letter", "memory"])
def test_whatever_broke_makes_the_run_fail(fault: str) -> None:
    made, audit, peak_bytes = ledger(), None, 1
    if fault == "audit":
        audit = Report((Finding("no-oversell", "inventory/a", "why"),))
    elif fault == "trouble":
        made.troubles.append("order x did not end")
    elif fault == "letter":
        made.counts["dead letters"] += 1
    else:
        peak_bytes = 3_000_000_000
    summed_up = document(played(made, audit, peak_bytes))
    assert summed_up["ok"] is False
    assert len(summed_up["findings"]) == 1


def test_lines_to_copy_hold_real_ids() -> None:
    lines = dict(lines_to_copy(played(ledger()), "tally"))
    assert lines["a confirmed order's history"] == "tally orders history c -f table"
    assert lines["a rejected order, with its reason"] == "tally orders show b -f table"
    assert lines["a SKU that ran short"] == "tally stock show 'rare one' -f table"
    assert lines["an order of your own"] == "tally orders place --sku many --quantity 2 --wait -f table"
    assert lines["kill a worker, then audit"] == "kill -9 77; tally audit"


def test_orders_that_still_have_to_move_are_known() -> None:
    made = ledger()
    assert made.unsettled() == []
    made.cancel_asked.add("c")
    made.ship_asked.add("a")
    assert made.unsettled() == ["c"]
    made.see("ORDER_CANCELLED", "c", "asked for", 1.5)
    assert made.unsettled() == []


def test_an_event_may_come_before_the_answer_to_the_post() -> None:
    made = Ledger()
    made.see("ORDER_REJECTED", "a", "UNKNOWN_SKU", 1.0)
    made.placed("1", "a")
    assert made.status_of("1") == "REJECTED"
    assert made.orders["a"].ended.is_set()


@pytest.mark.parametrize(
    ("values_s", "figures"),
    [
        ([], {"count": 0, "p50": 0, "p99": 0}),
        ([0.5], {"count": 1, "p50": 500, "p99": 500}),
        ([0.1] * 50 + [0.3] * 50 + [0.2], {"count": 101, "p50": 200, "p99": 300}),
    ],
)
def test_latency_is_told_in_milliseconds(values_s: list[float], figures: dict[str, float]) -> None:
    assert latency(values_s) == figures
