"""The demo's own client of the HTTP API: repeats what may be repeated, counts what was answered."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

import httpx

from tally.demo.dataset import CURRENCY
from tally.demo.ledger import Ledger
from tally.demo.plan import Adjustment, Lines, OrderAct

# A process that was killed is back within seconds; what takes longer is no hiccup.
RETRIED_FOR_S = 60.0
_PAUSE_S = 0.2
_TIMEOUT_S = 30.0
_AGAIN = {429, 502, 503, 504}
CONNECTIONS_MAX = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and JSON of the answer that counts."""

    status: int
    body: dict[str, Any]


class Counter(Protocol):
    """Where orders are placed and acted on; each call gives the answer that counts."""

    async def place(self, act: OrderAct) -> Answer:
        """POST an invoice as an order."""

    async def adjust(self, key: str, adjustment: Adjustment) -> Answer:
        """POST one adjustment of stock."""

    async def cancel(self, order_id: str) -> Answer:
        """POST the cancellation of an order."""

    async def ship(self, order_id: str) -> Answer:
        """POST the shipping of an order."""

    async def take_back(self, key: str, order_id: str, lines: Lines) -> Answer:
        """POST the return of lines of a shipped order."""


class Shop:
    """The API as the demo uses it; an async context manager. Raises httpx.TransportError after long trying."""

    def __init__(self, api_url: str, ledger: Ledger, transport: httpx.AsyncBaseTransport | None = None) -> None:
        limits = httpx.Limits(max_connections=CONNECTIONS_MAX, max_keepalive_connections=CONNECTIONS_MAX)
        self._client = httpx.AsyncClient(base_url=api_url, timeout=_TIMEOUT_S, limits=limits, transport=transport)
        self._ledger = ledger

    async def __aenter__(self) -> Shop:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def place(self, act: OrderAct) -> Answer:
        """POST an invoice as an order."""
        lines = [
            {"sku": line.sku, "quantity": line.quantity, "unit_price_minor": line.unit_price_minor}
            for line in act.lines
        ]
        payment = {"method": "card", "reference": act.payment_reference}
        body = {"customer_id": act.customer_id, "currency": CURRENCY, "lines": lines, "payment": payment}
        return await self._post("/orders", f"online-retail/{act.number}", body)

    async def adjust(self, key: str, adjustment: Adjustment) -> Answer:
        """POST one adjustment of stock."""
        path = f"/stock/{quote(adjustment.sku, safe='')}/adjustments"
        return await self._post(path, key, {"quantity": adjustment.quantity, "reason": adjustment.reason[:200]})

    async def cancel(self, order_id: str) -> Answer:
        """POST the cancellation of an order."""
        return await self._post(f"/orders/{order_id}/cancel", f"cancel/{order_id}", None)

    async def ship(self, order_id: str) -> Answer:
        """POST the shipping of an order."""
        return await self._post(f"/orders/{order_id}/ship", f"ship/{order_id}", None)

    async def take_back(self, key: str, order_id: str, lines: Lines) -> Answer:
        """POST the return of lines of a shipped order."""
        body = {"lines": [{"line": line, "quantity": quantity} for line, quantity in lines]}
        return await self._post(f"/orders/{order_id}/returns", key, body)

    async def _post(self, path: str, key: str, body: dict[str, Any] | None) -> Answer:
        """One POST, sent again under its key while a process restarts or the first of its kind still runs."""
        deadline = time.monotonic() + RETRIED_FOR_S
        while True:
            try:
                answer = await self._client.post(path, json=body, headers={"Idempotency-Key": key})
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    raise
                self._ledger.counts["posts sent again"] += 1
                await asyncio.sleep(_PAUSE_S)
                continue
            again = answer.status_code in _AGAIN or (answer.status_code == 409 and "retry-after" in answer.headers)
            if again and time.monotonic() < deadline:
                self._ledger.counts["posts sent again"] += 1
                await asyncio.sleep(float(answer.headers.get("retry-after", _PAUSE_S)))
                continue
            return Answer(answer.status_code, _json(answer))


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
