"""The verbs of sagas: list, show; retry, skip, compensate, annotate, each with a reason that is kept."""

from __future__ import annotations

from getpass import getuser
from itertools import islice
from typing import Annotated, Any

import typer

from schemas.codec import AvroCodec
from schemas.envelope import Envelope, Message, new_id, now
from schemas.messages import ActOnSaga, wire_type
from schemas.topics import SAGAS_DEADLINES, SAGAS_EVENTS
from streams.sagas.state import from_row
from tally.cli.consume import Wanted, records
from tally.cli.failures import NotFound, group
from tally.cli.kafka import Bootstrap, address, failing_plainly, reading
from tally.cli.printing import Format, chosen, print_document, print_rows
from tally.cli.publish import SOURCE, encoded, send
from tally.cli.records import to_row
from tally.reading import workers
from tally.reading.places import WHOLE

app = group("Sagas: how far each order's affair has come, and what it waits for.")

_TABLE = "order_sagas"
_SHOWN = 50


@app.command("list")
def list_(
    status: Annotated[str | None, typer.Option(help="RUNNING, COMPENSATING, STUCK, CONFIRMED, REJECTED …")] = None,
    num: Annotated[int, typer.Option("--num", "-n", min=1, help="At most so many.")] = _SHOWN,
    bootstrap: Bootstrap = None,
    form: Format = None,
) -> None:
    """Sagas with what they wait for; `--status STUCK` are those that only a person can help."""
    with failing_plainly():
        found = workers.scan(workers.find(address(bootstrap)), _TABLE)
        rows = (_summary(row["value"]) for row in found)
        wanted = (row for row in rows if status is None or row["status"] == status.upper())
        print_rows(
            list(islice(wanted, num)), ("order_id", "status", "reason", "started_at", "waits_for", "version"), form
        )


@app.command()
def show(
    order: Annotated[str, typer.Argument(metavar="ORDER", help="The order's id.")],
    bootstrap: Bootstrap = None,
    form: Format = None,
) -> None:
    """One saga: its state, and (in the table form) its events."""
    with failing_plainly():
        row = workers.get(workers.find(address(bootstrap)), _TABLE, order)
    if row is None:
        raise NotFound(f"there is no saga of order {order}")
    print_document({**_summary(row["value"]), **row["value"]}, form)
    if chosen(form) == "table":
        codec = AvroCodec()
        with reading(bootstrap) as reader:
            events = [to_row(record, codec) for record in records(reader, Wanted((SAGAS_EVENTS,), WHOLE, order), True)]
        typer.echo()
        print_rows(events, ("version", "timestamp", "type", "data"), form)


Order = Annotated[str, typer.Argument(metavar="ORDER", help="The order's id.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the saga's history and in the audit trail.")]


@app.command()
def retry(order: Order, reason: Reason = "retry now", bootstrap: Bootstrap = None, form: Format = None) -> None:
    """Send again, now, all that lacks an answer, and a step after the pivot that was refused."""
    _act(order, ActOnSaga("RETRY", getuser(), reason), bootstrap, form)


@app.command()
def skip(
    order: Order,
    reason: Reason,
    step: Annotated[str, typer.Option(help="capture, ship, void or release.")],
    bootstrap: Bootstrap = None,
    form: Format = None,
) -> None:
    """Take a step after the pivot, or a compensation, as done: its effect is then your business."""
    _act(order, ActOnSaga("SKIP", getuser(), reason, step), bootstrap, form)


@app.command()
def compensate(order: Order, reason: Reason, bootstrap: Bootstrap = None, form: Format = None) -> None:
    """Give an order up: undone at once before it is confirmed; afterwards use `tally orders cancel`."""
    _act(order, ActOnSaga("COMPENSATE", getuser(), reason), bootstrap, form)


@app.command()
def annotate(order: Order, reason: Reason, bootstrap: Bootstrap = None, form: Format = None) -> None:
    """Leave a remark in the saga's history."""
    _act(order, ActOnSaga("ANNOTATE", getuser(), reason), bootstrap, form)


def _act(order: str, wish: ActOnSaga, bootstrap: str | None, form: str | None) -> None:
    """Sends an act to the saga's key; whether it was done shows in its history, for it may mean nothing there."""
    kafka, id_ = address(bootstrap), new_id()
    with failing_plainly():
        if workers.get(workers.find(kafka), _TABLE, order) is None:
            raise NotFound(f"there is no saga of order {order}")
    envelope = Envelope(id_, wire_type(ActOnSaga), SOURCE, "sagas", order, None, now(), id_, id_)
    partition, offset = send(kafka, SAGAS_DEADLINES, encoded(Message(envelope, wish)))
    sent = {"id": id_, "order_id": order, "act": wish.act, "by": wish.by, "reason": wish.reason}
    print_document({**sent, "topic": SAGAS_DEADLINES, "partition": partition, "offset": offset}, form)


def _summary(row: dict[str, Any]) -> dict[str, Any]:
    saga = from_row(row)
    waits = [f"{step}/{line}" if line else step for step, line in sorted(saga.awaited)]
    stuck = saga.stuck
    return {
        "order_id": saga.order_id,
        "status": saga.summary,
        "reason": f"{stuck.step}: {stuck.reason}" if stuck is not None else saga.reason,
        "started_at": row["started_at"],
        "waits_for": ", ".join(waits[:5]) + (" …" if len(waits) > 5 else ""),
        "version": saga.version,
    }
