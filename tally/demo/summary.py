"""What the demo says at its end: a table of figures, the verdict, and lines to copy that hold real ids."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any

from rich.console import Console
from rich.table import Table

from tally.audit.report import Finding, Report
from tally.demo.ledger import Ledger

MEMORY_MAX_BYTES = 2_000_000_000
_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Played:
    """What a run came to; times in seconds, memory in bytes."""

    ledger: Ledger
    audit: Report
    invoices: int
    receipts: int
    received_within_s: float
    played_within_s: float
    first_confirmed_after_s: float | None
    peak_bytes: int
    worker_pid: int
    plentiful_sku: str
    figures: dict[str, Any] = field(default_factory=dict)


def document(played: Played) -> dict[str, Any]:
    """`{"ok", "findings", "figures"}` of the whole run: the audit's findings and what the demo itself saw broken."""
    report = Report(tuple(findings(played)), {})
    return {**report.to_json(), "figures": {**figures(played), "audit": played.audit.figures}}


def findings(played: Played) -> list[Finding]:
    """Every promise that did not hold."""
    ledger = played.ledger
    found = list(played.audit.findings)
    found += [Finding("demo", "orders", line) for line in ledger.troubles]
    if letters := ledger.counts["dead letters"]:
        found.append(Finding("demo", "dead-letters", f"{letters} records were set aside; see tally dead-letters list"))
    if played.peak_bytes > MEMORY_MAX_BYTES:
        message = f"{played.peak_bytes / _MB:,.0f} MB were used, {MEMORY_MAX_BYTES / _MB:,.0f} are promised"
        found.append(Finding("demo", "memory", message))
    return found


def figures(played: Played) -> dict[str, Any]:
    """The figures by name."""
    ledger = played.ledger
    orders = ledger.statuses.total()
    return {
        "invoices": played.invoices,
        "receipts": played.receipts,
        "receipts_per_s": round(played.receipts / max(played.received_within_s, 0.001)),
        "orders": orders,
        "orders_by_status": dict(sorted(ledger.statuses.items())),
        "refusals_by_reason": dict(ledger.reasons.most_common()),
        "duplicates_dropped": ledger.counts["duplicates dropped"],
        "posts_sent_again": ledger.counts["posts sent again"],
        "adjustments": ledger.counts["adjustments"],
        "adjustments_refused": ledger.counts["adjustments refused"],
        "cancellations_of_rejected_orders": ledger.counts["cancellations of rejected orders"],
        "cancellations_after_shipping": ledger.counts["cancellations after shipping"],
        "returns": ledger.counts["returns"],
        "returns_of_rejected_orders": ledger.counts["returns of rejected orders"],
        "accounting_invoices_left_out": ledger.counts["accounting invoices left out"],
        "dead_letters": ledger.counts["dead letters"],
        "seconds": round(played.played_within_s, 1),
        "orders_per_s": round(orders / max(played.played_within_s, 0.001), 1),
        "first_order_confirmed_after_s": played.first_confirmed_after_s,
        "latency_ms": {phase: latency(values) for phase, values in ledger.latencies_s.items()},
        "memory_mb": round(played.peak_bytes / _MB),
        **played.figures,
    }


def latency(values_s: list[float]) -> dict[str, float]:
    """Count, median and 99th percentile in milliseconds."""
    if len(values_s) < 2:
        only = round(values_s[0] * 1_000) if values_s else 0
        return {"count": len(values_s), "p50": only, "p99": only}
    cuts = quantiles(values_s, n=100, method="inclusive")
    return {"count": len(values_s), "p50": round(cuts[49] * 1_000), "p99": round(cuts[98] * 1_000)}


def print_summary(played: Played) -> None:
    """The table and the verdict, to stdout."""
    found = figures(played)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column()
    for status, count in found["orders_by_status"].items():
        table.add_row(f"orders {status}", f"{count:,}")
    for reason, count in found["refusals_by_reason"].items():
        table.add_row(f"rejected for {reason}", f"{count:,}")
    table.add_row("duplicates dropped", f"{found['duplicates_dropped']:,}")
    refused = found["adjustments_refused"]
    table.add_row("adjustments of stock", f"{found['adjustments']:,}, and {refused:,} refused (below zero)")
    table.add_row("returns of shipped lines", f"{found['returns']:,}")
    table.add_row("rates", f"{found['receipts_per_s']:,} receipts/s, {found['orders_per_s']:g} orders/s over all")
    for phase, measured in found["latency_ms"].items():
        text = f"p50 {measured['p50']:,} ms, p99 {measured['p99']:,} ms ({measured['count']:,} orders)"
        table.add_row(f"POST to CONFIRMED {phase}", text)
    if found["first_order_confirmed_after_s"] is not None:
        table.add_row("first order confirmed", f"{found['first_order_confirmed_after_s']:g} s after the command")
    table.add_row("memory of all processes", f"{found['memory_mb']:,} MB at most")
    table.add_row("records audited", f"{played.audit.figures.get('records', 0):,}")
    console = Console(highlight=False)
    console.print()
    console.print(table)
    broken = findings(played)
    for finding in broken[:20]:
        console.print(f"FINDING {finding.check}: {finding.place}: {finding.message}", markup=False, soft_wrap=True)
    more = f" (20 of {len(broken)} are shown)" if len(broken) > 20 else ""
    verdict = "the books balance, every promise checked held" if not broken else f"the books do NOT balance{more}"
    console.print(f"\naudit: {verdict}\n", markup=False)


def lines_to_copy(played: Played, tally: str) -> list[tuple[str, str]]:
    """(what it shows, the line) with ids of this run."""
    ledger = played.ledger
    ids = list(ledger.order_by_invoice.values())
    confirmed = next((id_ for id_ in reversed(ids) if ledger.orders[id_].status in ("CONFIRMED", "SHIPPED")), None)
    rejected = next((id_ for id_ in reversed(ids) if ledger.orders[id_].status == "REJECTED"), None)
    short = ledger.short_skus.most_common(1)
    lines = []
    if confirmed:
        lines.append(("a confirmed order's history", f"{tally} orders history {confirmed} -f table"))
    if rejected:
        lines.append(("a rejected order, with its reason", f"{tally} orders show {rejected} -f table"))
    if short:
        sku = shlex.quote(short[0][0])
        lines.append(("a SKU that ran short", f"{tally} stock show {sku} -f table"))
        lines.append(("who was refused it", f"{tally} consume inventory.events -k {sku} --type RESERVATION_REFUSED -e"))
    own = f"{tally} orders place --sku {shlex.quote(played.plentiful_sku)} --quantity 2 --wait -f table"
    lines.append(("an order of your own", own))
    lines.append(("kill a worker, then audit", f"kill -9 {played.worker_pid}; {tally} audit"))
    return lines


def tally_command() -> str:
    """How `tally` is called from here."""
    return ".venv/bin/tally" if Path(".venv/bin/tally").is_file() else "tally"
