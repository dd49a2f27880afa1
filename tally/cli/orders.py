"""The verbs of orders: place, show, diff, history, list, cancel, ship, return."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from operator import itemgetter
from typing import Annotated, Any
from urllib.parse import quote

import typer

from schemas.envelope import new_id
from tally.cli.failures import Failure, WrongUsage, group
from tally.cli.http_api import TOKEN_HEADER, Api, ApiUrl, calling
from tally.cli.moments import At, Since, Until, Version, past, show_diff
from tally.cli.printing import Format, print_document, print_rows

app = group("Orders: place, look at, cancel, ship, take back.")

# An order ends within 60 s; a little more for the way back.
ENDED_WITHIN_S = 75.0
_ASK_AGAIN_S = 0.05
DEFAULT_PRICE_MINOR = 100
_LIST_COLUMNS = ("id", "status", "reason", "total_minor", "currency", "created_at", "version")

OrderId = Annotated[str, typer.Argument(metavar="ORDER", help="The order's id.")]


@app.command()
def place(
    sku: Annotated[str | None, typer.Option(help="What to order.")] = None,
    quantity: Annotated[int, typer.Option(help="How many of it.")] = 1,
    line: Annotated[list[str] | None, typer.Option(help="A further line, as sku:quantity[:price].")] = None,
    customer: Annotated[str, typer.Option(help="Who orders.")] = "guest",
    price: Annotated[int, typer.Option(help="Price of one unit, in minor units.")] = DEFAULT_PRICE_MINOR,
    currency: Annotated[str, typer.Option(help="ISO 4217.")] = "GBP",
    method: Annotated[str, typer.Option(help="card or wallet.")] = "card",
    reference: Annotated[str, typer.Option(help="tok_ok, tok_decline, tok_slow, tok_timeout, tok_flaky.")] = "tok_ok",
    key: Annotated[str | None, typer.Option("--idempotency-key", help="The same key places one order.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the order is confirmed or rejected.")] = False,
    api: ApiUrl = None,
    form: Format = None,
) -> None:
    """Place an order: `tally orders place --sku 85123A --quantity 2` is enough."""
    lines = [] if sku is None else [{"sku": sku, "quantity": quantity, "unit_price_minor": price}]
    lines += [_line(text, price) for text in line or ()]
    if not lines:
        raise WrongUsage("say what to order: --sku SKU --quantity N, or --line SKU:N")
    body = {
        "customer_id": customer,
        "currency": currency,
        "lines": lines,
        "payment": {"method": method, "reference": reference},
    }
    with calling(api) as client:
        answer = client.call("POST", "/orders", json=body, Idempotency_Key=key or new_id())
        placed: dict[str, Any] = {**answer.json(), "token": answer.headers.get(TOKEN_HEADER, "")}
        if wait:
            print_document(_ended(client, placed), form)
            return
    print_document(placed, form)


@app.command()
def show(
    order: OrderId,
    token: Annotated[str, typer.Option(help="Show at least this version (orders/ID@VERSION).")] = "",
    at: At = None,
    version: Version = None,
    api: ApiUrl = None,
    form: Format = None,
) -> None:
    """One order as its customer sees it, or saw it."""
    path = f"/orders/{_in_path(order)}{past(at, version)}"
    with calling(api) as client:
        print_document(client.get(path, Consistency_Token=token), form)


@app.command()
def diff(order: OrderId, since: Since, to: Until = None, api: ApiUrl = None, form: Format = None) -> None:
    """What changed of one order between two moments."""
    show_diff(f"/orders/{_in_path(order)}", since, to, api, form)


@app.command()
def history(order: OrderId, api: ApiUrl = None, form: Format = None) -> None:
    """All events of one order, by version."""
    with calling(api) as client:
        events = client.get(f"/orders/{_in_path(order)}/events")
    print_rows(events, ("version", "timestamp", "type", "data", "id"), form)


@app.command("list")
def list_(
    customer: Annotated[str | None, typer.Argument(help="Whose orders; all where it is not given.")] = None,
    num: Annotated[int | None, typer.Option("--num", "-n", min=1, help="At most so many.")] = None,
    api: ApiUrl = None,
    form: Format = None,
) -> None:
    """The orders of one customer, or all in the order of their ids."""
    found: Iterator[dict[str, Any]]
    with calling(api) as client:
        if customer is None:
            found = map(itemgetter("value"), _items(client, "/tables/orders?"))
        else:
            found = _items(client, f"/customers/{_in_path(customer)}/orders?limit=100&")
        print_rows(list(islice(found, num)), _LIST_COLUMNS, form)


@app.command()
def cancel(order: OrderId, api: ApiUrl = None, form: Format = None) -> None:
    """Cancel an order that was not shipped: its goods are released, its money given back."""
    _act(order, "cancel", api, form)


@app.command()
def ship(order: OrderId, api: ApiUrl = None, form: Format = None) -> None:
    """Ship a confirmed order."""
    _act(order, "ship", api, form)


@app.command("return")
def return_(
    order: OrderId,
    line: Annotated[list[str], typer.Option(help="What came back, as line:quantity; lines count from 1.")],
    key: Annotated[str | None, typer.Option("--idempotency-key", help="The same key takes back once.")] = None,
    api: ApiUrl = None,
    form: Format = None,
) -> None:
    """Take back lines of a shipped order: the goods are in stock again, their price is refunded."""
    body = {"lines": [_returned(text) for text in line]}
    with calling(api) as client:
        answer = client.call("POST", f"/orders/{_in_path(order)}/returns", json=body, Idempotency_Key=key or new_id())
    print_document({"order_id": order, "token": answer.headers.get(TOKEN_HEADER, "")}, form)


def _items(client: Api, path: str) -> Iterator[dict[str, Any]]:
    """Of every page; `path` ends so that a parameter may follow."""
    page = client.get(path)
    yield from page["items"]
    while page["next"]:
        page = client.get(f"{path}cursor={quote(page['next'])}")
        yield from page["items"]


def _act(order: str, act: str, api: str | None, form: str | None) -> None:
    with calling(api) as client:
        answer = client.call("POST", f"/orders/{_in_path(order)}/{act}", Idempotency_Key=new_id())
    print_document({"order_id": order, "token": answer.headers.get(TOKEN_HEADER, "")}, form)


def _ended(client: Api, placed: dict[str, Any]) -> dict[str, Any]:
    """The order once it is no longer CREATED. Raises Failure when that takes too long."""
    deadline = time.monotonic() + ENDED_WITHIN_S
    while time.monotonic() < deadline:
        answer = client.call(
            "GET", f"/orders/{placed['order_id']}", Consistency_Token=placed["token"], Prefer="wait=10"
        )
        order: dict[str, Any] = answer.json()
        if order["status"] != "CREATED":
            return order
        time.sleep(_ASK_AGAIN_S)
    raise Failure(f"order {placed['order_id']} is still CREATED after {ENDED_WITHIN_S:.0f} s: see tally sagas show")


def _line(text: str, price: int) -> dict[str, Any]:
    sku, *numbers = text.split(":")
    try:
        quantity, *rest = [int(number) for number in numbers]
    except ValueError:
        raise WrongUsage(f"--line {text}: not of the form sku:quantity[:price]") from None
    if not sku or len(rest) > 1:
        raise WrongUsage(f"--line {text}: not of the form sku:quantity[:price]")
    return {"sku": sku, "quantity": quantity, "unit_price_minor": rest[0] if rest else price}


def _returned(text: str) -> dict[str, int]:
    number, _, quantity = text.partition(":")
    try:
        return {"line": int(number), "quantity": int(quantity)}
    except ValueError:
        raise WrongUsage(f"--line {text}: not of the form line:quantity") from None


def _in_path(part: str) -> str:
    return quote(part, safe="")
