"""The verbs of stock: receive, adjust, show, diff, history."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from schemas.envelope import new_id
from tally.cli.failures import Failure, group
from tally.cli.http_api import TOKEN_HEADER, Api, ApiUrl, calling
from tally.cli.moments import At, Since, Until, Version, past, show_diff
from tally.cli.printing import Format, print_document, print_rows

app = group("Stock: goods in, counts put right, what is there.")

Sku = Annotated[str, typer.Argument(metavar="SKU", help="Stock keeping unit; upper and lower case differ.")]
# How long the API waits for the agent's answer before it says only that the command is on its way.
_WAIT = "wait=10"


@app.command()
def receive(
    sku: Sku,
    quantity: Annotated[int, typer.Option("--quantity", "-q", help="Units that came in.")],
    api: ApiUrl = None,
    form: Format = None,
) -> None:
    """Goods came in."""
    _command(sku, "receipts", {"quantity": quantity}, api, form)


@app.command()
def adjust(
    sku: Sku,
    quantity: Annotated[int, typer.Option("--quantity", "-q", help="Units more, or less with a minus.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with the event.")],
    api: ApiUrl = None,
    form: Format = None,
) -> None:
    """Put a count right."""
    _command(sku, "adjustments", {"quantity": quantity, "reason": reason}, api, form)


@app.command()
def show(
    sku: Sku,
    token: Annotated[str, typer.Option(help="Show at least this version (inventory/SKU@VERSION).")] = "",
    at: At = None,
    version: Version = None,
    api: ApiUrl = None,
    form: Format = None,
) -> None:
    """What of a SKU is on hand, reserved and to be had, or was."""
    path = f"/stock/{quote(sku, safe='')}{past(at, version)}"
    with calling(api) as client:
        print_document(client.get(path, Consistency_Token=token), form)


@app.command()
def diff(sku: Sku, since: Since, to: Until = None, api: ApiUrl = None, form: Format = None) -> None:
    """What changed of a SKU's stock between two moments."""
    show_diff(f"/stock/{quote(sku, safe='')}", since, to, api, form)


@app.command()
def history(sku: Sku, api: ApiUrl = None, form: Format = None) -> None:
    """All events of a SKU's stock, by version."""
    with calling(api) as client:
        events = client.get(f"/stock/{quote(sku, safe='')}/events")
    print_rows(events, ("version", "timestamp", "type", "data", "id"), form)


def _command(sku: str, what: str, body: dict[str, Any], api: str | None, form: str | None) -> None:
    path = f"/stock/{quote(sku, safe='')}/{what}"
    with calling(api) as client:
        answer = client.call("POST", path, json=body, Idempotency_Key=new_id(), Prefer=_WAIT)
        result = {**(answer.json() if answer.content else {})}
        if answer.status_code == 202:
            result |= _look(client, answer.headers["Location"])
    if refusal := result.get("refusal"):
        raise Failure(f"{sku}: refused: {refusal}")
    print_document({**result, "token": answer.headers.get(TOKEN_HEADER) or result.get("token") or ""}, form)


def _look(client: Api, location: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(location)
    return {"command": location, **found}
