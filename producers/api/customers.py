"""`/customers`: the orders of one customer."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from producers.api.bodies import CustomerId
from producers.api.headers import WaitS, Wanted
from producers.api.parts import ThePart
from producers.api.problems import not_found
from producers.api.reading import Wanted as WantedRow
from schemas.keys import SEPARATOR

PAGE_MAX = 500
PAGE_DEFAULT = 50

router = APIRouter(tags=["customers"])
Limit = Annotated[int, Query(ge=1, le=PAGE_MAX)]


@router.get("/customers/{customer_id}/orders")
async def orders_of(
    customer_id: CustomerId,
    wanted: Wanted,
    wait_s: WaitS,
    parts: ThePart,
    limit: Limit = PAGE_DEFAULT,
    cursor: Annotated[str | None, Query(max_length=1_000)] = None,
) -> dict[str, Any]:
    """A page of one customer's orders; with a token, one that shows the named orders at that version."""
    for token in wanted:
        if token.aggregatetype == "orders":
            key = customer_id + SEPARATOR + token.aggregate_id
            await parts.reader.row(WantedRow("orders_by_customer", key, token.version, wait_s))
    page = await parts.reader.page("orders_by_customer", customer_id, customer_id + SEPARATOR, cursor, limit)
    if page is None:
        raise not_found("table-not-found", "the workers keep no table orders_by_customer")
    return {"items": [item["value"] for item in page.items], "next": page.next}
