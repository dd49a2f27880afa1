"""The verbs of dead letters: list, show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from schemas.codec import AvroCodec
from schemas.envelope import body_to_json
from schemas.errors import Undecodable
from schemas.messages import DeadLettered
from schemas.topics import DEAD_LETTERS
from tally.cli.consume import Wanted, records
from tally.cli.failures import NotFound, group
from tally.cli.kafka import Bootstrap, reading
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
