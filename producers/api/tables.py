"""`/tables`: the workers' rows as they are."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from producers.api.bodies import Text
from producers.api.customers import PAGE_DEFAULT, Limit
from producers.api.moments import MaybeBetween, MaybePast
from producers.api.parts import ThePart
from producers.api.past_rows import PastRows
from producers.api.problems import not_found
from producers.api.reading import Wanted as WantedRow

router = APIRouter(tags=["tables"])
TableName = Annotated[str, Path(pattern=r"^[a-z_]{1,64}\z")]


@router.get("/tables")
async def tables(parts: ThePart) -> Any:
    """What tables there are."""
    return await parts.reader.tables()


@router.get("/tables/{name}/{key:path}")
async def row(
    name: TableName,
    key: Annotated[Text, Path(min_length=1, max_length=300)],
    parts: ThePart,
    past: MaybePast,
    between: MaybeBetween,
) -> dict[str, Any]:
    """One row, from the worker that owns it; as it was, or what changed of it, from its history."""
    if between is not None:
        return await PastRows(parts.histories).diff(name, key, between)
    if past is not None:
        return await PastRows(parts.histories).row(name, key, past)
    found = await parts.reader.row(WantedRow(name, key))
    if found is None:
        raise not_found("row-not-found", f"table {name} has no such key")
    return found


@router.get("/tables/{name}")
async def rows(
    name: TableName,
    parts: ThePart,
    prefix: Annotated[str, Query(max_length=300)] = "",
    cursor: Annotated[str | None, Query(max_length=2_000)] = None,
    limit: Limit = PAGE_DEFAULT,
) -> dict[str, Any]:
    """A page of rows, worker by worker."""
    page = await parts.reader.page_of_all(name, prefix, cursor, limit)
    if page is None:
        raise not_found("table-not-found", f"the workers keep no table {name}")
    return {"items": page.items, "next": page.next}
