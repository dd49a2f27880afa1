"""Messages of the wallet aggregate; its id is the customer id."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WalletCredited:
    customer_id: str
    amount_minor: int
    currency: str
    balance_minor: int


@dataclass(frozen=True, slots=True)
class WalletDebited:
    customer_id: str
    amount_minor: int
    currency: str
    balance_minor: int
    order_id: str | None = None


@dataclass(frozen=True, slots=True)
class WalletRefunded:
    customer_id: str
    amount_minor: int
    currency: str
    balance_minor: int
    order_id: str | None = None
