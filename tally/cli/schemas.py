"""The verbs of schemas: list, show, check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from schemas import catalogue
from schemas.catalogue import Entry
from schemas.messages import MESSAGES, class_of, wire_type
from tally.cli.compatibility import compare_lock, compatible, lint
from tally.cli.failures import CheckFailed, NotFound, group
from tally.cli.printing import Format, print_rows

app = group("Schemas: what messages look like, and whether old and new can live together.")


@app.command("list")
def list_(form: Format = None) -> None:
    """Every message with its subject, newest version and id."""
    newest: dict[str, Entry] = {entry.subject: entry for entry in catalogue.load()}
    rows = [
        {"type": _type(entry), "subject": subject, "version": entry.version, "id": entry.id, "file": entry.file}
        for subject, entry in sorted(newest.items())
    ]
    print_rows(rows, ("type", "subject", "version", "id", "file"), form)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A type (ORDER_CREATED) or a subject (tally.orders.OrderCreated).")],
    version: Annotated[int | None, typer.Option(min=1, help="The newest by default.")] = None,
) -> None:
    """One schema as it is published."""
    cls = class_of(name)
    wanted = name if cls is None else cls.__name__
    found = [entry for entry in catalogue.load() if wanted in (entry.subject, entry.class_name)]
    chosen = [entry for entry in found if version in (None, entry.version)]
    if not chosen:
        raise NotFound(f"there is no schema {name}" if not found else f"{name} has no version {version}")
    typer.echo(json.dumps(chosen[-1].schema, indent=2))


@app.command()
def check(
    folder: Annotated[Path, typer.Option(help="Folder with lock.json and avro/.")] = catalogue.FOLDER,
    output: Annotated[str, typer.Option("--format", "-f", help="table or json")] = "table",
) -> None:
    """The lock file complete and unchanged, every message with a schema, every version readable by every other one."""
    entries = published(folder)
    findings = [*compare_lock(_lock(folder), folder), *_missing(entries), *compatible(entries), *lint(entries)]
    if output == "json":
        document: dict[str, Any] = {
            "ok": not findings,
            "findings": [{"check": "schemas", "place": line.split(":")[0], "message": line} for line in findings],
            "figures": {"schemas": len(entries)},
        }
        typer.echo(json.dumps(document, indent=2))
    else:
        for line in findings:
            typer.echo(f"FINDING {line}")
    if findings:
        raise CheckFailed("" if output == "json" else f"{len(findings)} findings")
    typer.echo(f"{len(entries)} schemas: complete, unchanged, compatible", err=True)


def published(folder: Path) -> list[Entry]:
    """Every version in a folder's lock file whose file is there, as it is now; by subject and version."""
    entries = []
    for subject, versions in sorted(_lock(folder).items()):
        for version, row in sorted(versions.items(), key=lambda item: int(item[0])):
            path = folder / row["file"]
            if path.is_file():
                schema = json.loads(path.read_text())
                entries.append(Entry(subject, int(version), row["id"], row["file"], row["sha256"], schema))
    return entries


def _lock(folder: Path) -> dict[str, Any]:
    path = folder / "lock.json"
    if not path.is_file():
        raise NotFound(f"there is no {path}")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _missing(entries: list[Entry]) -> list[str]:
    have = {entry.class_name for entry in entries}
    return [f"{cls.__name__}: a message without a schema" for cls in MESSAGES.values() if cls.__name__ not in have]


def _type(entry: Entry) -> str:
    cls = next(cls for cls in MESSAGES.values() if cls.__name__ == entry.class_name)
    return wire_type(cls)
