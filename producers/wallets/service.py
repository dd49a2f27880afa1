"""What HTTP may do with wallets: credit one, look at one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from producers.orders.service import Origin, command_message
from producers.store.deciding import handle_with_retries
from producers.store.port import Answer, EventStore
from producers.wallets.aggregate import WALLETS, CreditWallet, Wallet
from schemas.envelope import now


class WalletService:
    """Wallets for the API; blocks on the payments database, safe to share between threads."""

    def __init__(self, store: EventStore, clock: Callable[[], datetime] = now) -> None:
        self._store, self._clock = store, clock

    def credit(self, origin: Origin, credit: CreditWallet) -> Answer:
        """Money comes in. Raises CommandIdReused, StillRunning, Busy, Conflict (still, after the last try)."""
        command = command_message(origin, WALLETS.aggregatetype, credit.customer_id, credit, self._clock())
        answer = handle_with_retries(self._store, WALLETS, command, command.envelope.recorded_at)
        assert answer is not None, "no command of a wallet is postponed"
        return answer

    def find(self, customer_id: str) -> tuple[Wallet, int]:
        """The wallet and its version; version 0 for one that was never credited."""
        head = self._store.find_head(WALLETS.aggregatetype, customer_id)
        return WALLETS.state_of(head), head.version
