"""`tally outbox republish`: rows of an outbox table once more, with the same ids, by the connector that runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from confluent_kafka import KafkaException

from connectors.outbox.config import OutboxConfig
from connectors.outbox.errors import OutboxError
from connectors.outbox.republishing.asked import IDS_MAX, RATE_MAX, REPUBLISH, Bounds, Progress, Republish
from connectors.outbox.republishing.asking import ask_republish, cancel, republishing, until_republished
from schemas.envelope import to_rfc3339
from tally.cli.connectors_named import Connector, connectors
from tally.cli.failures import CheckFailed, NotFound, OutOfReach, WrongUsage
from tally.cli.kafka import Bootstrap
from tally.cli.printing import Format, print_document
from tally.reading.moments import parse_moment

# A connector gives a sign with every piece; one that waits for rows under way, within a minute.
_SILENT_MAX_S = 90.0

_FROM = "Rows recorded from then on: RFC 3339, epoch, or a duration back such as 2h."


def republish(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Rows by id.")] = None,
    key: Annotated[str | None, typer.Option("--key", help="Rows of one aggregate: its id, or type/id.")] = None,
    since: Annotated[str | None, typer.Option("--from", help=_FROM)] = None,
    until: Annotated[str | None, typer.Option("--to", help="Rows recorded before then.")] = None,
    time_column: Annotated[
        str | None, typer.Option("--time-column", help="Column of --from and --to (default: the record's timestamp).")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every row of the table.")] = False,
    rate: Annotated[float, typer.Option("--rate", min=0.1, max=RATE_MAX, help="Rows a second, at most.")] = 1_000.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count the rows.")] = False,
    cancels: Annotated[bool, typer.Option("--cancel", help="End what is being republished.")] = False,
    connector: Connector = None,
    bootstrap: Bootstrap = None,
    form: Format = None,
) -> None:
    """Publishes rows that are in the table once more, with their ids, aggregate by aggregate; what is published stays.

    The running connector does it, beside its stream; it goes on after any crash, and when this command is interrupted.
    Prints how many rows were sent, refused by Kafka, or held back as they are not published at all.
    """
    bounds = Bounds(tuple(ids or ()), key, _moment(since), _moment(until), time_column)
    is_bounded = bounds != Bounds(time_field=time_column)
    if sum((is_bounded, every, cancels)) != 1:
        raise WrongUsage("tally outbox republish ID..., --key, --from, --to, or --all; or --cancel")
    if len(bounds.ids) > IDS_MAX:
        raise WrongUsage(f"{len(bounds.ids)} ids; at most {IDS_MAX}")
    config = _one(connector, bootstrap)
    try:
        if cancels:
            _cancel(config)
        else:
            _follow(config, ask_republish(config, Republish(bounds, rate, dry_run)), dry_run, form)
    except (OutboxError, KafkaException) as error:
        raise OutOfReach(str(error)) from None


def _one(connector: str | None, bootstrap: str | None) -> OutboxConfig:
    found = connectors(connector, bootstrap)
    if not found:
        raise NotFound("no connector keeps a topic for requests here")
    if len(found) > 1:
        raise WrongUsage(f"which one? --connector {' or '.join(config.name for config in found)}")
    return found[0]


def _cancel(config: OutboxConfig) -> None:
    open_ = {key: one for key, one in republishing(config).items() if not one.progress.done}
    if not open_:
        raise NotFound("nothing is being republished")
    for key, request in open_.items():
        cancel(config, key, request)
    for key in open_:
        if until_republished(config, key, _SILENT_MAX_S, lambda _: None) is None:
            raise _no_answer(config, key)


def _follow(config: OutboxConfig, key: bytes, dry_run: bool, form: str | None) -> None:
    def tell(progress: Progress) -> None:
        typer.echo(f"{progress.rows} rows", err=True)

    found = until_republished(config, key, _SILENT_MAX_S, tell)
    if found is None:
        raise _no_answer(config, key)
    figures: dict[str, Any] = {"rows": found.sent} if dry_run else {"sent": found.sent}
    if not dry_run:
        figures |= {"refused": found.refused, "held": found.held}
    print_document({"connector": config.name, **figures, "fault": found.fault or None}, form)
    if found.fault:
        raise CheckFailed(found.fault)
    if found.refused:
        raise CheckFailed(f"{found.refused} rows were refused; the connector's log names them")


def _no_answer(config: OutboxConfig, key: bytes) -> OutOfReach:
    id_ = key.removeprefix(REPUBLISH).decode()
    return OutOfReach(
        f"connector {config.name} gave no sign for {_SILENT_MAX_S:.0f} s; it will go on with {id_} when it runs again "
        f"(`tally outbox republish --cancel` takes that back)"
    )


def _moment(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return to_rfc3339(datetime.fromtimestamp(parse_moment(text, datetime.now(UTC)) / 1_000, UTC))
    except (ValueError, OverflowError, OSError):
        raise WrongUsage(f"{text}: no moment: RFC 3339, epoch, or a duration back such as 90m") from None
