"""`/wallets`: credit a customer's wallet, show its balance."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from producers.api.bodies import Credit, CustomerId
from producers.api.headers import Token, Wish, stamp
from producers.api.parts import ThePart
from producers.api.problems import conflict, not_found, unavailable
from producers.store.port import OUTCOME_REFUSED
from producers.wallets.aggregate import CreditWallet
from producers.wallets.service import WalletService

router = APIRouter(tags=["wallets"])


# A customer's id may hold a slash.
@router.post("/wallets/{customer_id:path}/credits", status_code=201)
def credit(customer_id: CustomerId, credit: Credit, wish: Wish, parts: ThePart, response: Response) -> dict[str, Any]:
    """Puts money into a wallet; its first credit gives it its currency."""
    wallets = _wallets(parts)
    answer = wallets.credit(wish, CreditWallet(customer_id, credit.amount_minor, credit.currency))
    if answer.outcome == OUTCOME_REFUSED:
        raise conflict("refused", f"the credit was refused: {answer.reason}", reason=answer.reason)
    return _shown(customer_id, wallets, response)


@router.get("/wallets/{customer_id:path}")
def show(customer_id: CustomerId, parts: ThePart, response: Response) -> dict[str, Any]:
    """What a wallet holds, as the payments database has it."""
    return _shown(customer_id, _wallets(parts), response)


def _shown(customer_id: str, wallets: WalletService, response: Response) -> dict[str, Any]:
    wallet, version = wallets.find(customer_id)
    if version == 0:
        raise not_found("wallet-not-found", "this customer has no wallet")
    stamp(response, Token("wallets", customer_id, version))
    return {"balance_minor": wallet.balance_minor, "currency": wallet.currency, "version": version}


def _wallets(parts: ThePart) -> WalletService:
    if parts.wallets is None:
        raise unavailable("database-out-of-reach", "this API was started without a payments database")
    return parts.wallets
