"""The verbs of schemas: list, show, check, diff, push."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from schemas import catalogue
from schemas.catalogue import Entry, normalised_sha256
from schemas.messages import MESSAGES, class_of, wire_type
from schemas.registry import Registered, Registry, RegistryRefused, RegistryUnreachable
from tally.cli.compatibility import compare_lock, compatible, lint
from tally.cli.evolution import changes
from tally.cli.failures import CheckFailed, Failure, NotFound, OutOfReach, WrongUsage, group
from tally.cli.printing import Format, print_rows
from tally.settings import Settings

app = group("Schemas: what messages look like, and whether old and new can live together.")

SAME, MISSING = "same", "missing"
RegistryUrl = Annotated[str | None, typer.Option(help="URL of a registry (TALLY_SCHEMA_REGISTRY_URL).")]


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
    versions = {entry.version: entry for entry in _versions_of(name)}
    chosen = _version(versions, max(versions) if version is None else version, name)
    typer.echo(json.dumps(chosen.schema, indent=2))


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


@app.command()
def diff(
    name: Annotated[str | None, typer.Argument(help="A type or a subject: two of its versions are compared.")] = None,
    from_: Annotated[int | None, typer.Option("--from", min=1, help="The one before --to by default.")] = None,
    to: Annotated[int | None, typer.Option("--to", min=1, help="The newest by default.")] = None,
    registry: RegistryUrl = None,
    form: Format = None,
) -> None:
    """What changed between two versions; without a name what the registry has otherwise (exit code 5 then)."""
    if name is None:
        rows = [row for row in _compared(registry) if row["state"] != SAME]
        print_rows(rows, ("subject", "version", "id", "state"), form)
        if rows:
            raise CheckFailed(f"{len(rows)} versions differ")
        return
    versions = {entry.version: entry for entry in _versions_of(name)}
    newer = _version(versions, max(versions) if to is None else to, name)
    older = _version(versions, newer.version - 1 if from_ is None else from_, name)
    print_rows(changes(older.schema, newer.schema), ("place", "change", "from", "to"), form)


@app.command()
def push(
    registry: RegistryUrl = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be registered.")] = False,
    form: Format = None,
) -> None:
    """Register every version that the registry lacks, under the id of the lock file; what differs stops all."""
    rows = _compared(registry)
    if clashes := [row for row in rows if row["state"] not in (SAME, MISSING)]:
        print_rows(clashes, ("subject", "version", "id", "state"), form)
        raise CheckFailed(f"{len(clashes)} versions are there as something else; nothing was registered")
    lacking = {(row["subject"], row["version"]) for row in rows if row["state"] == MISSING}
    entries = [entry for entry in catalogue.load() if (entry.subject, entry.version) in lacking]
    if not dry_run:
        with _registry(registry) as client:
            for entry in entries:
                got = client.import_version(Registered(entry.subject, entry.version, entry.id, entry.schema))
                if got != entry.id:
                    raise CheckFailed(f"{entry.subject} version {entry.version} got id {got}, not {entry.id}")
    pushed = [{"subject": entry.subject, "version": entry.version, "id": entry.id} for entry in entries]
    print_rows(pushed, ("subject", "version", "id"), form)
    typer.echo(f"{len(pushed)} versions {'would be ' if dry_run else ''}registered", err=True)


def _compared(url: str | None) -> list[dict[str, Any]]:
    """Every version of the lock file with what the registry says of it."""
    with _registry(url) as client:
        return [
            {"subject": entry.subject, "version": entry.version, "id": entry.id, "state": state_in(client, entry)}
            for entry in catalogue.load()
        ]


def state_in(client: Registry, entry: Entry) -> str:
    """SAME, MISSING, or in words how the registry differs."""
    found = client.find(entry.subject, entry.version)
    if found is None:
        other = client.schema_of(entry.id)
        if other is None or normalised_sha256(other) == entry.sha256:
            return MISSING
        return f"id {entry.id} stands for {other.get('namespace')}.{other.get('name')}"
    if normalised_sha256(found.schema) != entry.sha256:
        return "another schema"
    return SAME if found.id == entry.id else f"id {found.id}"


@contextmanager
def _registry(url: str | None) -> Iterator[Registry]:
    where = Settings(schema_registry_url=url).schema_registry_url
    if where is None:
        raise WrongUsage("there is no registry: give --registry or TALLY_SCHEMA_REGISTRY_URL")
    try:
        with Registry(where) as client:
            yield client
    except RegistryUnreachable as error:
        raise OutOfReach(str(error)) from None
    except RegistryRefused as error:
        raise Failure(str(error)) from None


def _versions_of(name: str) -> list[Entry]:
    cls = class_of(name)
    wanted = name if cls is None else cls.__name__
    found = [entry for entry in catalogue.load() if wanted in (entry.subject, entry.class_name)]
    if not found:
        raise NotFound(f"there is no schema {name}")
    return found


def _version(versions: dict[int, Entry], wanted: int, name: str) -> Entry:
    if wanted not in versions:
        raise NotFound(f"{name} has no version {wanted}; it has {', '.join(map(str, versions))}")
    return versions[wanted]


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
