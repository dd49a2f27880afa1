"""The verbs of dead letters: list, show, redrive, discard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from getpass import getuser
from typing import Annotated, Any

import typer

from connectors.outbox.waiting.entries import Request
from schemas.letters import DISCARD, FAILED, REDRIVE
from schemas.messages import ActOnDeadLetters
from tally.cli.failures import CheckFailed, NotFound, OutOfReach, WrongUsage, group
from tally.cli.kafka import Bootstrap, address, reading
from tally.cli.outbox import connectors, entries, redriven
from tally.cli.printing import Format, print_document, print_rows
from tally.reading.letters import Row, act, discard_unowned, letters, settle

app = group("Dead letters: records that were set aside, each with its reason, and those that wait behind them.")

_COLUMNS = (
    "id",
    "recorded_at",
    "origin",
    "state",
    "topic",
    "partition",
    "offset",
    "key",
    "attempts",
    "error",
    "reason",
)
_ORIGIN_OUTBOX = "outbox"
_ANSWER_WITHIN_S = 60.0

Letter = Annotated[str | None, typer.Argument(metavar="[ID]", help="The letter's id.")]
Key = Annotated[str | None, typer.Option("--key", help="All of one key (the order, the SKU), of every reader.")]
Every = Annotated[bool, typer.Option("--all", help="All letters there are.")]


@app.command("list")
def list_(
    key: Key = None,
    state: Annotated[str | None, typer.Option(help="FAILED, or WAITING behind one that failed.")] = None,
    bootstrap: Bootstrap = None,
    form: Format = None,
) -> None:
    """Every letter; those that wait for one another together and in order."""
    with reading(bootstrap) as reader:
        found = letters(reader).values()
    rows = [row for row in found if key in (None, row["key"]) and state in (None, row["state"])]
    print_rows(sorted(rows, key=_in_order), _COLUMNS, form)


@app.command()
def show(
    letter: Annotated[str, typer.Argument(help="The letter's id.")], bootstrap: Bootstrap = None, form: Format = None
) -> None:
    """One letter: the record decoded where that can be, its headers and bytes (`value_hex`), stack and history."""
    with reading(bootstrap) as reader:
        row = letters(reader, letter).get(letter)
    if row is None:
        raise NotFound(f"there is no dead letter {letter}")
    print_document(row, form)


@app.command()
def redrive(
    letter: Letter = None,
    key: Key = None,
    every: Every = False,
    reason: Annotated[str, typer.Option(help="Why; kept in the audit trail.")] = "redrive",
    bootstrap: Bootstrap = None,
    form: Format = None,
) -> None:
    """Tries again, in order, with those behind; whoever set them aside does it. Prints what is left, exit 5 if anything is."""
    meant = _meant(letter, key, every, bootstrap)
    of_outbox = [row for row in meant if row["origin"] == _ORIGIN_OUTBOX]
    lanes = [row for row in meant if row["lane"] is not None]
    if letter is not None and not (of_outbox or lanes):
        raise WrongUsage(f"a letter of {meant[0]['origin']} cannot be redriven, only discarded")
    for row in of_outbox:
        _redrive_outbox(row["id"], bootstrap, form)
    if lanes:
        wish = ActOnDeadLetters(REDRIVE, getuser(), reason, letter, key)
        _ask(wish, lanes, bootstrap, form)


@app.command()
def discard(
    reason: Annotated[str, typer.Option(help="Why; kept in the audit trail.")],
    letter: Letter = None,
    key: Key = None,
    every: Every = False,
    bootstrap: Bootstrap = None,
    form: Format = None,
) -> None:
    """Gives records up for good; what waits behind a discarded one is tried then."""
    meant = _meant(letter, key, every, bootstrap)
    if letter is not None and meant[0]["origin"] == _ORIGIN_OUTBOX:
        raise WrongUsage("a committed outbox row is never given up: mend it in its table, then tally outbox redrive")
    wish = ActOnDeadLetters(DISCARD, getuser(), reason, letter, key)
    lanes = [row for row in meant if row["lane"] is not None]
    for row in meant:
        if row["lane"] is None and row["origin"] != _ORIGIN_OUTBOX:
            discard_unowned(address(bootstrap), row, wish)
    if lanes:
        _ask(wish, lanes, bootstrap, form)


def _meant(letter: str | None, key: str | None, every: bool, bootstrap: str | None) -> list[Row]:
    """The letters that are meant. Raises WrongUsage, NotFound."""
    if (letter is not None) + (key is not None) + every != 1:
        raise WrongUsage("name a letter's ID, --key KEY or --all")
    with reading(bootstrap) as reader:
        found = letters(reader).values()
    # A key in its letters, or, of commands of stock, the order that they are about.
    meant = [
        row for row in found if every or row["id"] == letter or (key is not None and key in (row["key"], row["about"]))
    ]
    if not meant:
        raise NotFound("there is no such dead letter")
    return sorted(meant, key=_in_order)


def _ask(wish: ActOnDeadLetters, meant: Iterable[Row], bootstrap: str | None, form: str | None) -> None:
    """Sends the act and waits until every lane has answered. Raises OutOfReach, and CheckFailed for what fails again."""
    rows = list(meant)
    act(address(bootstrap), wish, rows)
    with reading(bootstrap) as reader:
        left = settle(reader, wish, rows, _ANSWER_WITHIN_S)
    if left is None:
        raise OutOfReach(f"no answer in {_ANSWER_WITHIN_S:.0f} s; whoever set them aside will act when it runs again")
    if left:
        print_rows(sorted(left, key=_in_order), _COLUMNS, form)
        failed = sum(row["state"] == FAILED for row in left)
        raise CheckFailed(f"{failed} failed again, {len(left) - failed} wait behind them")


def _redrive_outbox(letter: str, bootstrap: str | None, form: str | None) -> None:
    for config in connectors(None, bootstrap):
        for entry in entries(config):
            if entry.letter == letter.encode():
                redriven([config], Request(row_id=entry.row_id), form)
                return
    raise NotFound(f"the row of letter {letter} does not wait any more")


def _in_order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["lane"] or "", row["state"] != FAILED, row["recorded_at"], row["offset"] or 0
