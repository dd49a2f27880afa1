"""The verbs of dead letters: list, show, redrive."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from connectors.outbox.waiting.entries import Request
from schemas.codec import AvroCodec
from schemas.envelope import body_to_json
from schemas.errors import Undecodable
from schemas.messages import DeadLettered
from schemas.topics import DEAD_LETTERS
from tally.cli.connectors_named import connectors
from tally.cli.consume import Wanted, records
from tally.cli.failures import NotFound, WrongUsage, group
from tally.cli.kafka import Bootstrap, reading
from tally.cli.outbox import entries, redriven
from tally.cli.printing import Format, print_document, print_rows
from tally.cli.records import text
from tally.reading.places import WHOLE
from tally.reading.reader import Reader

app = group("Dead letters: records that were set aside, each with its reason.")


@app.command("list")
def list_(bootstrap: Bootstrap = None, form: Format = None) -> None:
    """Every letter, oldest first."""
    with reading(bootstrap) as reader:
        rows = sorted(letters(reader).values(), key=lambda row: row["recorded_at"])
    print_rows(rows, ("id", "recorded_at", "origin", "topic", "partition", "offset", "key", "error", "reason"), form)


@app.command()
def show(
    letter: Annotated[str, typer.Argument(help="The letter's id.")], bootstrap: Bootstrap = None, form: Format = None
) -> None:
    """One letter with the record's own headers and bytes (`value_hex`)."""
    with reading(bootstrap) as reader:
        row = letters(reader, letter).get(letter)
    if row is None:
        raise NotFound(f"there is no dead letter {letter}")
    print_document(row, form)


@app.command()
def redrive(
    letter: Annotated[str, typer.Argument(help="The letter's id.")], bootstrap: Bootstrap = None, form: Format = None
) -> None:
    """Tries an outbox row again, as `tally outbox redrive` does; a letter that is published goes from the list."""
    with reading(bootstrap) as reader:
        row = letters(reader, letter).get(letter)
    if row is None:
        raise NotFound(f"there is no dead letter {letter}")
    if row.get("origin") != "outbox":
        raise WrongUsage(f"a letter of {row.get('origin')} cannot be redriven, only one of the outbox")
    for config in connectors(None, bootstrap):
        for entry in entries(config):
            if entry.letter == letter.encode():
                redriven([config], Request(row_id=entry.row_id), form)
                return
    raise NotFound(f"the row of letter {letter} does not wait any more")


def letters(reader: Reader, key: str | None = None) -> dict[str, dict[str, Any]]:
    """The letters that are there, by id: the last of each key counts, a tombstone takes it away."""
    return dict(_read(reader, key))


def _read(reader: Reader, key: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    codec, last = AvroCodec(), {}
    for record in records(reader, Wanted((DEAD_LETTERS,), WHOLE, key), stop=True):
        last[text(record.key) or ""] = record
    for id_, record in last.items():
        if record.value is None:
            continue
        try:
            letter: DeadLettered = codec.decode(record.value)
        except Undecodable as error:
            yield id_, {"id": id_, "recorded_at": "", "reason": f"the letter itself cannot be read: {error.reason}"}
            continue
        row = body_to_json(letter)
        row["value_hex"] = row.pop("value")
        row |= {"key": text(letter.key), "headers": {name: text(value) for name, value in letter.headers.items()}}
        yield id_, {"id": id_, **row}
