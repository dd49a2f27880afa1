"""What the audit keeps of each aggregate while it folds the event topics."""

from __future__ import annotations

from dataclasses import dataclass, field

HoldKey = tuple[str, str, int]


@dataclass(slots=True)
class History:
    """What every history has: its version, when it last moved (epoch ms), and a hash of each event's content."""

    version: int = 0
    moved_at_ms: int = 0
    contents: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class OrderHistory(History):
    """An order as its events tell it; `lines` is (line, sku, quantity, unit price), `returned` units by line."""

    status: str = ""
    reason: str | None = None
    customer_id: str = ""
    currency: str = ""
    total_minor: int = 0
    lines: tuple[tuple[int, str, int, int], ...] = ()
    payment_method: str = ""
    created_at_ms: int = 0
    statuses: list[str] = field(default_factory=list)
    returned: dict[int, int] = field(default_factory=dict)

    @property
    def returned_minor(self) -> int:
        """What the returned units had cost, in minor units."""
        price_by_line = {line: price for line, _, _, price in self.lines}
        return sum(units * price_by_line.get(line, 0) for line, units in self.returned.items())


@dataclass(slots=True)
class PaymentHistory(History):
    """A payment; `statuses` are all that it had, in order. Money in minor units."""

    status: str = ""
    amount_minor: int = 0
    refunded_minor: int = 0
    statuses: list[str] = field(default_factory=list)


@dataclass(slots=True)
class WalletHistory(History):
    """A wallet: sums of the audit's own beside the balance that the last event stated; debits and refunds by order."""

    credited_minor: int = 0
    stated_minor: int = 0
    debited_by_order: dict[str, int] = field(default_factory=dict)
    refunded_by_order: dict[str, int] = field(default_factory=dict)

    @property
    def balance_minor(self) -> int:
        """What its movements add up to."""
        return self.credited_minor - sum(self.debited_by_order.values()) + sum(self.refunded_by_order.values())


@dataclass(slots=True)
class StockHistory(History):
    """A SKU: counts summed up by the audit, beside the counts that the last event stated."""

    on_hand: int = 0
    reserved: int = 0
    stated_on_hand: int = 0
    stated_reserved: int = 0
    short: bool = False


@dataclass(slots=True)
class SagaHistory(History):
    """A saga; `step` is the last that it started, `outcome` None until it ended."""

    step: str = ""
    reason: str | None = None
    outcome: str | None = None


@dataclass(slots=True)
class Hold:
    """What one order line has of a SKU, and how much of it came back."""

    quantity: int
    status: str
    version: int
    returned: int = 0


def hold_place(key: HoldKey) -> str:
    """How a finding names a hold."""
    return f"holds/{key[0]}/{key[1]}/{key[2]}"
