"""Folds event topics in memory: a second opinion, by other code than that which keeps the books."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

from schemas.codec import Codec
from schemas.errors import Undecodable
from schemas.messages import (
    OrderCancelled,
    OrderConfirmed,
    OrderCreated,
    OrderLinesReturned,
    OrderRejected,
    OrderShipped,
    PaymentAuthorised,
    PaymentCaptured,
    PaymentDeclined,
    PaymentRefunded,
    PaymentRequested,
    PaymentVoided,
    ReservationFenced,
    ReservationRefused,
    ReservationReleased,
    SagaCompensationStarted,
    SagaEnded,
    SagaLinesReturned,
    SagaStarted,
    SagaStepStarted,
    StockAdjusted,
    StockReceived,
    StockReserved,
    StockReturned,
    StockShipped,
    StockShortage,
    WalletCredited,
    WalletDebited,
    WalletRefunded,
)
from schemas.topics import (
    DEAD_LETTERS,
    INVENTORY_EVENTS,
    ORDERS_EVENTS,
    PAYMENTS_EVENTS,
    SAGAS_EVENTS,
    WALLETS_EVENTS,
)
from tally.audit.histories import (
    History,
    Hold,
    HoldKey,
    OrderHistory,
    PaymentHistory,
    SagaHistory,
    StockHistory,
    WalletHistory,
    hold_place,
)
from tally.audit.report import Finding
from tally.reading.reader import Record

ORDER_STATUS_AFTER = {
    OrderConfirmed: "CONFIRMED",
    OrderRejected: "REJECTED",
    OrderCancelled: "CANCELLED",
    OrderShipped: "SHIPPED",
}
PAYMENT_STATUS_AFTER = {
    PaymentRequested: "REQUESTED",
    PaymentAuthorised: "AUTHORISED",
    PaymentDeclined: "DECLINED",
    PaymentCaptured: "CAPTURED",
    PaymentVoided: "VOIDED",
    PaymentRefunded: "REFUNDED",
}
HOLD_STATUS_AFTER = {
    StockReserved: "HELD",
    ReservationReleased: "RELEASED",
    StockShipped: "SHIPPED",
    ReservationRefused: "REFUSED",
    ReservationFenced: "FENCED",
}
# What happens inside a saga is told by its version alone; only these change what the audit compares.
_SAGA_TYPES = {
    "SAGA_STARTED",
    "SAGA_STEP_STARTED",
    "SAGA_COMPENSATION_STARTED",
    "SAGA_ENDED",
    "SAGA_LINES_RETURNED",
}


@dataclass(slots=True)
class Histories:
    """All event topics up to a cut; `count_by_id` tells how often each record of a topic was seen.

    `findings` hold what the records themselves break: gaps, two events under one version, impossible moves.
    """

    codec: Codec
    orders: dict[str, OrderHistory] = field(default_factory=dict)
    payments: dict[str, PaymentHistory] = field(default_factory=dict)
    wallets: dict[str, WalletHistory] = field(default_factory=dict)
    stock: dict[str, StockHistory] = field(default_factory=dict)
    sagas: dict[str, SagaHistory] = field(default_factory=dict)
    holds: dict[HoldKey, Hold] = field(default_factory=dict)
    count_by_id: dict[str, dict[str, int]] = field(default_factory=dict)
    sources: dict[str, dict[str, str]] = field(default_factory=dict)
    recorded_ms: dict[str, dict[str, int]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    records: int = 0
    # Keys of the dead letters that are there. Their topic is compacted, so how often one was told cannot be counted.
    letters: set[bytes] = field(default_factory=set)

    def take(self, record: Record) -> None:
        """Folds one record; records of one aggregate come in order."""
        self.records += 1
        if record.topic == DEAD_LETTERS:
            (self.letters.discard if record.value is None else self.letters.add)(record.key or b"")
            return
        headers = dict(record.headers)
        id_ = _text(headers.get("ce_id")) or f"{record.partition}/{record.offset}"
        counts = self.count_by_id.setdefault(record.topic, {})
        counts[id_] = counts.get(id_, 0) + 1
        self.sources.setdefault(record.topic, {})[id_] = _text(headers.get("ce_source"))
        self.recorded_ms.setdefault(record.topic, {})[id_] = record.timestamp_ms
        kept = self._kept(record.topic)
        if kept is None:
            return
        type_, subject = _text(headers.get("ce_type")), _text(headers.get("ce_subject"))
        place = f"{record.topic.removesuffix('.events')}/{subject}"
        if counts[id_] > 1:
            self._say("published-once", place, f"event {id_} stands more than once in {record.topic}")
        if not self._comes_next(kept, record, (place, subject, _text(headers.get("aggregateversion")))):
            return
        if record.topic == SAGAS_EVENTS and type_ not in _SAGA_TYPES:
            return
        try:
            body = self.codec.decode(record.value)
        except Undecodable as error:
            self._say("readable", f"{record.topic}/{record.partition}/{record.offset}", error.reason)
            return
        self._fold(kept[subject], subject, body)

    def _kept(self, topic: str) -> dict[str, Any] | None:
        kept: dict[str, dict[str, Any]] = {
            ORDERS_EVENTS: self.orders,
            PAYMENTS_EVENTS: self.payments,
            WALLETS_EVENTS: self.wallets,
            INVENTORY_EVENTS: self.stock,
            SAGAS_EVENTS: self.sagas,
        }
        return kept.get(topic)

    def _comes_next(self, kept: dict[str, Any], record: Record, named: tuple[str, str, str]) -> bool:
        """Whether the record is the next version of its history; says what is wrong where it is not."""
        place, subject, version_text = named
        if not version_text.isdigit() or not subject:
            self._say("readable", f"{record.topic}/{record.partition}/{record.offset}", "no subject or version")
            return False
        version, content = int(version_text), blake2b(record.value or b"", digest_size=8).digest()
        history = kept.get(subject)
        if history is None:
            history = kept[subject] = _NEW[record.topic]()
        if version <= history.version:
            same = version >= 1 and history.contents[version - 1] == content
            what = "stands twice" if same else "stands twice with different content"
            self._say("one-content-a-version", place, f"version {version} {what}")
            return False
        if version != history.version + 1:
            self._say("dense-versions", place, f"version {version} comes after version {history.version}")
            history.contents.extend([b""] * (version - history.version - 1))
        history.version = version
        history.moved_at_ms = max(history.moved_at_ms, record.timestamp_ms)
        history.contents.append(content)
        return True

    def _fold(self, history: Any, subject: str, body: Any) -> None:
        match history:
            case OrderHistory():
                self._fold_order(history, subject, body)
            case PaymentHistory():
                _fold_payment(history, body)
            case WalletHistory():
                _fold_wallet(history, body)
            case StockHistory():
                self._fold_stock(history, subject, body)
            case SagaHistory():
                _fold_saga(history, body)

    def _fold_order(self, order: OrderHistory, order_id: str, body: Any) -> None:
        if isinstance(body, OrderCreated):
            order.status, order.customer_id, order.currency = "CREATED", body.customer_id, body.currency
            order.total_minor, order.created_at_ms = body.total_minor, order.moved_at_ms
            order.payment_method = body.payment_method
            order.lines = tuple((line.line, line.sku, line.quantity, line.unit_price_minor) for line in body.lines)
        elif type(body) in ORDER_STATUS_AFTER:
            order.status, order.reason = ORDER_STATUS_AFTER[type(body)], getattr(body, "reason", None)
        elif isinstance(body, OrderLinesReturned):
            self._fold_return(order, order_id, body)
        order.statuses.append(order.status)

    def _fold_return(self, order: OrderHistory, order_id: str, body: OrderLinesReturned) -> None:
        ordered = {line: quantity for line, _, quantity, _ in order.lines}
        before_minor = order.returned_minor
        for line in body.lines:
            units = order.returned[line.line] = order.returned.get(line.line, 0) + line.quantity
            if order.status != "SHIPPED" or units > ordered.get(line.line, 0):
                message = f"{units} of line {line.line} came back of an order that is {order.status}"
                self._say("returned-was-shipped", f"orders/{order_id}", message)
        if order.returned_minor - before_minor != body.refund_minor:
            message = f"version {order.version} refunds {body.refund_minor}, not {order.returned_minor - before_minor}"
            self._say("refund-agrees", f"orders/{order_id}", message)

    def _fold_stock(self, stock: StockHistory, sku: str, body: Any) -> None:
        for finding in _moved(stock, sku, body):
            self.findings.append(finding)
        status = HOLD_STATUS_AFTER.get(type(body))
        if isinstance(body, StockReturned):
            self._put_back(stock, (sku, body.order_id, body.line), body.quantity)
        if status is not None:
            key = (sku, body.order_id, body.line)
            before = self.holds.get(key)
            if not _may_follow(before, status, body.quantity):
                had = f"{before.status} of {before.quantity}" if before else "nothing"
                self._say(
                    "holds-move-rightly",
                    hold_place(key),
                    f"{status} of {body.quantity} at version {stock.version} follows {had}",
                )
            self.holds[key] = Hold(before.quantity if before else body.quantity, status, stock.version)

    def _put_back(self, stock: StockHistory, key: HoldKey, quantity: int) -> None:
        hold = self.holds.get(key)
        if hold is None or hold.status != "SHIPPED" or hold.returned + quantity > hold.quantity:
            had = f"{hold.status} of {hold.quantity} with {hold.returned} returned" if hold else "nothing"
            message = f"{quantity} came back at version {stock.version} after {had}"
            self._say("holds-move-rightly", hold_place(key), message)
        if hold is not None:
            self.holds[key] = replace(hold, version=stock.version, returned=hold.returned + quantity)

    def _say(self, check: str, place: str, message: str) -> None:
        self.findings.append(Finding(check, place, message))


_NEW: dict[str, type[History]] = {
    ORDERS_EVENTS: OrderHistory,
    PAYMENTS_EVENTS: PaymentHistory,
    WALLETS_EVENTS: WalletHistory,
    INVENTORY_EVENTS: StockHistory,
    SAGAS_EVENTS: SagaHistory,
}


def fold(records: Iterable[Record], codec: Codec) -> Histories:
    """The histories of some records."""
    histories = Histories(codec)
    for record in records:
        histories.take(record)
    return histories


def _moved(stock: StockHistory, sku: str, body: Any) -> Iterator[Finding]:
    """Moves the audit's own counts and compares them with those that the event states."""
    place = f"inventory/{sku}"
    match body:
        case StockReceived() | StockAdjusted() | StockReturned():
            stock.on_hand += body.quantity
        case StockReserved():
            stock.reserved += body.quantity
            if stock.reserved > stock.on_hand:
                yield Finding("no-oversell", place, f"version {stock.version} reserves what is not there")
        case ReservationReleased():
            stock.reserved -= body.quantity
        case StockShipped():
            stock.reserved -= body.quantity
            stock.on_hand -= body.quantity
        case StockShortage() if body.missing != stock.reserved - stock.on_hand:
            yield Finding("every-unit-explained", place, f"version {stock.version} states a wrong shortage")
    stock.stated_on_hand, stock.stated_reserved = body.on_hand, body.reserved
    if stock.reserved <= stock.on_hand:
        stock.short = False
    elif isinstance(body, StockShortage):
        stock.short = True
    if (stock.on_hand, stock.reserved) != (body.on_hand, body.reserved):
        yield Finding(
            "every-unit-explained",
            place,
            f"version {stock.version} states {body.on_hand} on hand and {body.reserved} reserved, "
            f"its movements add up to {stock.on_hand} and {stock.reserved}",
        )
        # Said once, at the event that is wrong; the next ones are measured from here.
        stock.on_hand, stock.reserved = body.on_hand, body.reserved
    if stock.on_hand < 0 or stock.reserved < 0:
        yield Finding("never-below-zero", place, f"version {stock.version}: {stock.on_hand}, {stock.reserved}")


def _may_follow(before: Hold | None, status: str, quantity: int) -> bool:
    if before is None:
        return status in ("HELD", "REFUSED", "FENCED")
    return before.status == "HELD" and status in ("RELEASED", "SHIPPED") and before.quantity == quantity


def _fold_payment(payment: PaymentHistory, body: Any) -> None:
    payment.status = PAYMENT_STATUS_AFTER.get(type(body), payment.status)
    if isinstance(body, PaymentRequested):
        payment.amount_minor = body.amount_minor
    elif isinstance(body, PaymentRefunded):
        payment.refunded_minor += body.amount_minor
        if payment.refunded_minor < payment.amount_minor:
            payment.status = "CAPTURED"
    payment.statuses.append(payment.status)


def _fold_wallet(wallet: WalletHistory, body: Any) -> None:
    match body:
        case WalletCredited():
            wallet.credited_minor += body.amount_minor
        case WalletDebited():
            before = wallet.debited_by_order.get(body.order_id or "", 0)
            wallet.debited_by_order[body.order_id or ""] = before + body.amount_minor
        case WalletRefunded():
            before = wallet.refunded_by_order.get(body.order_id or "", 0)
            wallet.refunded_by_order[body.order_id or ""] = before + body.amount_minor
    wallet.stated_minor = body.balance_minor


def _fold_saga(saga: SagaHistory, body: Any) -> None:
    match body:
        case SagaStarted():
            saga.step, saga.outcome = "", None
        case SagaStepStarted():
            # A cancellation or the goods' leaving opens an ended saga again.
            saga.step, saga.outcome = body.step, None
        case SagaLinesReturned():
            saga.step, saga.outcome = "refund and restock", None
        case SagaCompensationStarted():
            saga.reason, saga.outcome = body.reason, None
        case SagaEnded():
            saga.outcome = body.outcome


def _text(value: bytes | str | None) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value or ""
