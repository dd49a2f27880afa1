"""The verbs of blue/green rebuilds, in the group replay: build, builds, diff, promote, discard."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated

import typer
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from schemas.table_versions import Versions, WrongTurn
from schemas.topics import READ_MODELS, changelog
from tally.cli.failures import CheckFailed, NotFound, OutOfReach, group
from tally.cli.kafka import Bootstrap, address, failing_plainly, reading
from tally.cli.printing import Format, chosen, print_document, print_rows
from tally.cli.replay_options import Reason
from tally.reading import rebuilds, workers
from tally.reading.rebuilds import Act, NotInStep

app = group("Rebuilds: a new version of a read model beside the served one.")

# Workers hear of a change within milliseconds; one that is just being started needs some seconds.
_HEARD_WITHIN_S = 60.0
_ROWS_SHOWN = 20
_BUILT_WITHIN_S = 86_400.0
_COLUMNS = (
    "table",
    "version",
    "partition",
    "in_step",
    "next_offset",
    "live_offset",
    "events",
    "faults",
    "last_fault",
    "worker",
)

Table = Annotated[str, typer.Argument(help=f"A read model: {', '.join(READ_MODELS)}.")]


@app.command()
def build(
    table: Table,
    wait: Annotated[bool, typer.Option("--wait", help="Until it is in step with the served version.")] = False,
    reason: Reason = "",
    bootstrap: Bootstrap = None,
    form: Format = None,
) -> None:
    """Begin a new version of a read model's table: its owners fold it from offset 0, beside the served one."""
    where, name = address(bootstrap), _known(table)
    with failing_plainly():
        version = _turn(where, name, Act("BUILD", Versions.with_build, reason))[1].building
        assert version is not None
        if wait and not rebuilds.until(partial(_is_in_step, where, name, version), _BUILT_WITHIN_S):
            raise OutOfReach(f"version {version} of {name} is not in step after {_BUILT_WITHIN_S:.0f} s")
    print_document({"table": name, "building": version}, form)


@app.command()
def builds(bootstrap: Bootstrap = None, form: Format = None) -> None:
    """How far each partition of each build is; a build goes on by itself after crashes."""
    with failing_plainly():
        print_rows(rebuilds.builds(workers.find(address(bootstrap))), _COLUMNS, form)


@app.command()
def diff(
    table: Table,
    num: Annotated[int, typer.Option("--num", "-n", min=0, max=1_000, help="Rows shown of each partition.")] = (
        _ROWS_SHOWN
    ),
    bootstrap: Bootstrap = None,
    form: Format = None,
) -> None:
    """Compare the new version with the served one, row by row, at the same input offset; exit 5 when they differ."""
    where, name = address(bootstrap), _known(table)
    with failing_plainly():
        version = _building(where, name)
        try:
            partitions = list(rebuilds.diff(workers.find(where), name, version, num))
        except NotInStep as error:
            raise CheckFailed(str(error)) from None
    rows = [row for each in partitions for row in each.pop("rows")]
    if chosen(form) == "table":
        print_rows(partitions, ("table", "version", "partition", "offset", "served", "built", "differ"), form)
        if rows:
            typer.echo()
            print_rows(rows, ("key", "served", "built"), form)
    else:
        print_document({"partitions": partitions, "rows": rows}, form)
    differ = sum(each["differ"] for each in partitions)
    if differ:
        raise CheckFailed(f"{differ} rows differ")


@app.command()
def promote(
    table: Table,
    despite_faults: Annotated[
        bool, typer.Option("--despite-faults", help="Though events could not be folded.")
    ] = False,
    reason: Reason = "",
    bootstrap: Bootstrap = None,
    form: Format = None,
) -> None:
    """Let the new version answer queries, at once; the one that was served goes. Exit 5 unless it is in step everywhere."""
    where, name = address(bootstrap), _known(table)
    with failing_plainly():
        version = _building(where, name)
        try:
            rows = rebuilds.in_step(workers.find(where), name, version)
        except NotInStep as error:
            raise CheckFailed(str(error)) from None
        faults = sum(row["faults"] for row in rows)
        if faults and not despite_faults:
            raise CheckFailed(f"{faults} events could not be folded; see tally replay builds, or say --despite-faults")
        before, after = _turn(where, name, Act("PROMOTE", Versions.promoted, reason), version)
        if not rebuilds.until(lambda: _serve(where, name, after.served), _HEARD_WITHIN_S):
            raise OutOfReach(f"it is promoted, but not every worker serves it within {_HEARD_WITHIN_S:.0f} s")
        _forget(where, name, before.served)
    print_document({"table": name, "served": after.served}, form)


@app.command()
def discard(table: Table, reason: Reason = "", bootstrap: Bootstrap = None, form: Format = None) -> None:
    """Give the new version up; its rows and its changelog go."""
    where, name = address(bootstrap), _known(table)
    with failing_plainly():
        before, after = _turn(where, name, Act("DISCARD", Versions.discarded, reason))
        if not rebuilds.until(lambda: not rebuilds.builds(workers.find(where), name), _HEARD_WITHIN_S):
            raise OutOfReach(f"it is discarded, but not every worker let it go within {_HEARD_WITHIN_S:.0f} s")
        _forget(where, name, before.building or after.newest)
    print_document({"table": name, "served": after.served}, form)


def _known(table: str) -> str:
    if table not in READ_MODELS:
        raise NotFound(f"there is no read model {table}; there are {', '.join(READ_MODELS)}")
    return table


def _building(where: str, name: str) -> int:
    with reading(where) as reader:
        version = rebuilds.versions(reader)[name].building
    if version is None:
        raise NotFound(f"no version of {name} is being built; begin one with tally replay build {name}")
    return version


def _turn(where: str, name: str, act: Act, building: int | None = None) -> tuple[Versions, Versions]:
    def checked(before: Versions) -> Versions:
        if building is not None and before.building != building:
            raise WrongTurn(f"version {building} is not being built any more")
        return act.turn(before)

    try:
        return rebuilds.change(where, name, replace(act, turn=checked))
    except WrongTurn as error:
        raise CheckFailed(str(error)) from None


def _is_in_step(where: str, name: str, version: int) -> bool:
    try:
        return bool(rebuilds.in_step(workers.find(where), name, version))
    except NotInStep as progress:
        typer.echo(f"\r{progress}   ", err=True, nl=False)
        return False


def _serve(where: str, name: str, version: int) -> bool:
    return all(each["served"][name] == version for each in rebuilds.told(workers.find(where)))


def _forget(where: str, name: str, version: int) -> None:
    """Deletes the changelog of a version that nobody keeps any more; that of the first stays in the table of topics."""
    if version > 1:
        client = AdminClient({"bootstrap.servers": where, "log_level": 0})
        for deleted in client.delete_topics([changelog(name, version)]).values():
            try:
                deleted.result(_HEARD_WITHIN_S)
            except KafkaException as error:
                typer.echo(f"the changelog of version {version} is still there: {error.args[0].str()}", err=True)
