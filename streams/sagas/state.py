"""State of one order saga: a frozen value, and its row in the table `order_sagas`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from schemas.envelope import from_rfc3339, to_rfc3339
from schemas.messages import SagaLine, SagaReturnedLine
from streams.sagas.engine.state import NO_LINE, WHOLE, Place, Refusal, SagaState, Status, Trouble, Verdict

__all__ = [
    "NO_LINE",
    "ORDER_DEADLINE",
    "OrderSaga",
    "Place",
    "Refusal",
    "Row",
    "Status",
    "due_of",
    "from_row",
    "to_row",
]

ORDER_DEADLINE = WHOLE
# The order's statuses, as its events show them; the last four are also outcomes of the saga.
CREATED, CONFIRMED, REJECTED = "CREATED", "CONFIRMED", "REJECTED"
CANCELLED, SHIPPED = "CANCELLED", "SHIPPED"

# Steps of which nothing is undone: refused, they wait for a person.
_RETRIED = ("capture", "ship", "refund", "restock")

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class OrderSaga(SagaState):
    """`order_status` is the order's as seen in its events; money in minor units of `currency`.

    Of returns: `refunds` (number, amount) and `restocks` are still to be done, `returned_at` is the version of the
    last that was heard of, `lines_returned` how many lines came back in all.
    """

    order_id: str = ""
    order_status: str = ""
    customer_id: str = ""
    currency: str = ""
    total_minor: int = 0
    payment_method: str = ""
    payment_reference: str = ""
    lines: tuple[SagaLine, ...] = ()
    refunds: tuple[tuple[int, int], ...] = ()
    restocks: tuple[SagaReturnedLine, ...] = ()
    returned_at: int = 0
    lines_returned: int = 0

    @property
    def subject(self) -> str:
        """The order's id."""
        return self.order_id

    @property
    def verdict(self) -> Verdict:
        """The order arbitrates."""
        if self.order_status in (REJECTED, CANCELLED):
            return Verdict.GIVEN_UP
        return Verdict.KEPT if self.order_status in (CONFIRMED, SHIPPED) else Verdict.UNDECIDED

    @property
    def given_up_as(self) -> str:
        """REJECTED or CANCELLED."""
        return self.order_status

    @property
    def summary(self) -> str:
        """One word for lists: the outcome once ended, STUCK where only a person can help, else the status."""
        if self.status is Status.ENDED:
            return self.outcome or self.status.value
        return "STUCK" if self.stuck is not None else self.status.value

    @property
    def stuck(self) -> Refusal | None:
        """The refusal that no compensation answers, if there is one; one of a compensation is tried again all the while."""
        if self.status is Status.COMPENSATING:
            for trouble in self.troubles:
                return Refusal(trouble.step, trouble.line, trouble.reason)
        for refusal in self.refusals:
            if refusal.step in _RETRIED and self.status is Status.RUNNING:
                return refusal
            kept = self.order_status in (CONFIRMED, SHIPPED)
            if refusal.step == "reject" and self.status is Status.COMPENSATING and kept:
                return refusal
        return None


def to_row(saga: OrderSaga) -> Row:
    """The saga as plain JSON values; what is empty is left out, so that an ended one is small."""
    row: Row = {
        "order_id": saga.order_id,
        "saga_id": saga.saga_id,
        "correlation_id": saga.correlation_id,
        "version": saga.version,
        "status": saga.status.value,
        "outcome": saga.outcome,
        "reason": saga.reason,
        "order_status": saga.order_status,
        "started_at": None if saga.started_at is None else to_rfc3339(saga.started_at),
    }
    if saga.lines:
        row |= {
            "customer_id": saga.customer_id,
            "currency": saga.currency,
            "total_minor": saga.total_minor,
            "payment_method": saga.payment_method,
            "payment_reference": saga.payment_reference,
            "lines": [[line.line, line.sku, line.quantity] for line in saga.lines],
        }
    if saga.awaited:
        row["awaited"] = sorted(map(list, saga.awaited))
    if saga.refusals:
        row["refusals"] = [[found.step, found.line, found.reason] for found in saga.refusals]
    if saga.troubles:
        row["troubles"] = [[found.step, found.line, found.attempt, found.reason] for found in saga.troubles]
    if saga.asked:
        row["asked"] = sorted(saga.asked)
    if saga.attempts:
        row["attempts"] = dict(saga.attempts)
    if saga.returned_at:
        row["returned"] = [saga.returned_at, saga.lines_returned]
    if saga.refunds:
        row["refunds"] = [list(entry) for entry in saga.refunds]
    if saga.restocks:
        row["restocks"] = [[found.number, found.line, found.sku, found.quantity] for found in saga.restocks]
    if saga.due:
        row["due"] = {step: to_rfc3339(moment) for step, moment in saga.due}
    return row


def from_row(row: Row | None) -> OrderSaga:
    """The reverse of `to_row`."""
    if row is None:
        return OrderSaga()
    returned_at, lines_returned = row.get("returned", (0, 0))
    return OrderSaga(
        order_id=row["order_id"],
        saga_id=row["saga_id"],
        correlation_id=row["correlation_id"],
        version=row["version"],
        status=Status(row["status"]),
        outcome=row["outcome"],
        reason=row["reason"],
        order_status=row["order_status"],
        started_at=None if row["started_at"] is None else from_rfc3339(row["started_at"]),
        customer_id=row.get("customer_id", ""),
        currency=row.get("currency", ""),
        total_minor=row.get("total_minor", 0),
        payment_method=row.get("payment_method", ""),
        payment_reference=row.get("payment_reference", ""),
        lines=tuple(SagaLine(*line) for line in row.get("lines", ())),
        refunds=tuple((number, amount) for number, amount in row.get("refunds", ())),
        restocks=tuple(SagaReturnedLine(*found) for found in row.get("restocks", ())),
        returned_at=returned_at,
        lines_returned=lines_returned,
        awaited=frozenset((step, line) for step, line in row.get("awaited", ())),
        refusals=tuple(Refusal(*found) for found in row.get("refusals", ())),
        troubles=tuple(Trouble(*found) for found in row.get("troubles", ())),
        asked=frozenset(row.get("asked", ())),
        attempts=tuple(row.get("attempts", {}).items()),
        due=due_of(row),
    )


def due_of(row: Row) -> tuple[tuple[str, datetime], ...]:
    """The deadlines of a row: (step, moment)."""
    return tuple((step, from_rfc3339(moment)) for step, moment in row.get("due", {}).items())
