"""The verbs of wallets: credit, show."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from schemas.envelope import new_id
from tally.cli.failures import group
from tally.cli.http_api import ApiUrl, calling
from tally.cli.printing import Format, print_document

app = group("Wallets: money that customers left with us, to pay orders from.")

Customer = Annotated[str, typer.Argument(metavar="CUSTOMER", help="Customer id.")]


@app.command()
def credit(
    customer: Customer,
    amount: Annotated[int, typer.Option("--amount", "-a", help="Money in minor units (pence, cents).")],
    currency: Annotated[
        str, typer.Option("--currency", help="ISO 4217; a wallet keeps that of its first credit.")
    ] = "GBP",
    key: Annotated[str, typer.Option("--key", help="Idempotency key: the same one again credits nothing.")] = "",
    api: ApiUrl = None,
    form: Format = None,
) -> None:
    """Put money into a wallet."""
    with calling(api) as client:
        body = {"amount_minor": amount, "currency": currency}
        answer = client.call("POST", f"{_path(customer)}/credits", json=body, Idempotency_Key=key or new_id())
        print_document(answer.json(), form)


@app.command()
def show(customer: Customer, api: ApiUrl = None, form: Format = None) -> None:
    """What a wallet holds."""
    with calling(api) as client:
        print_document(client.get(_path(customer)), form)


def _path(customer: str) -> str:
    return f"/wallets/{quote(customer, safe='')}"
