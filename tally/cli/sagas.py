"""The verbs of sagas: list, show, timeline; retry, skip, compensate, complete, annotate, each with a reason that is kept."""

from __future__ import annotations

from getpass import getuser
from typing import Annotated, Any

import typer

from schemas.envelope import now
from schemas.messages import ActOnSaga
from schemas.records import first_message
from schemas.topics import SAGAS_DEADLINES
from tally.cli.failures import NotFound, WrongUsage, group
from tally.cli.kafka import Bootstrap, address, failing_plainly, reading
from tally.cli.printing import Format, chosen, print_document, print_rows
from tally.cli.publish import SOURCE, encoded, send
from tally.cli.records import for_table
from tally.reading import workers
from tally.reading.moments import parse_moment
from tally.reading.timelines import COLUMNS, timeline

app = group("Sagas: how far each order's affair has come, and what it waits for.")

_SHOWN = 50
# What a worker shows at once.
_SHOWN_MAX = 1_000


@app.command("list")
def list_(
    status: Annotated[
        str | None, typer.Option("--status", "--state", help="RUNNING, COMPENSATING, STUCK, PARKED, CONFIRMED …")
    ] = None,
    step: Annotated[str | None, typer.Option(help="Those that wait for this step, or are stuck at it.")] = None,
    error: Annotated[str | None, typer.Option(help="Those whose open error has this text.")] = None,
    older: Annotated[str | None, typer.Option(help="Those that are open for so long, such as 5m.")] = None,
    num: Annotated[int, typer.Option("--num", "-n", min=1, max=_SHOWN_MAX, help="At most so many.")] = _SHOWN,
    bootstrap: Bootstrap = None,
    form: Format = None,
) -> None:
    """Sagas, newest first: STUCK are those that only a person can help, PARKED those with a dead letter."""
    asked = {"state": status, "step": step, "error": error, "older_s": None if older is None else _seconds(older)}
    wanted = {name: value for name, value in asked.items() if value is not None} | {"limit": str(num)}
    with failing_plainly():
        found = workers.sagas(workers.find(address(bootstrap)), wanted)
    columns = ("order_id", "status", "reason", "age_s", "attempts", "waits_for", "error", "next_timer", "version")
    print_rows([_summary(saga) for saga in found[:num]], columns, form)


@app.command()
def show(
    order: Annotated[str, typer.Argument(metavar="ORDER", help="The order's id.")],
    bootstrap: Bootstrap = None,
    form: Format = None,
) -> None:
    """One saga: its state, and (in the table form) its timeline."""
    saga = _saga(order, bootstrap)
    print_document({**_summary(saga), **saga}, form)
    if chosen(form) == "table":
        typer.echo()
        with reading(bootstrap) as reader:
            print_rows(map(for_table, timeline(reader, saga)), COLUMNS, form)


@app.command("timeline")
def timeline_(
    order: Annotated[str, typer.Argument(metavar="ORDER", help="The order's id.")],
    bootstrap: Bootstrap = None,
    form: Format = None,
) -> None:
    """All messages of an order's affair: events, commands with their attempts, answers, timers; and when it is due next."""
    saga = _saga(order, bootstrap)
    with reading(bootstrap) as reader:
        rows = timeline(reader, saga)
    if saga["next_timer"] is not None:
        due = {"timestamp": saga["next_timer"], "type": "(next timer)", "data": {"due": saga["due"]}}
        rows.append({**dict.fromkeys((*COLUMNS, "key")), **due})
    print_rows(map(for_table, rows) if chosen(form) == "table" else rows, COLUMNS, form)


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
def complete(order: Order, reason: Reason, bootstrap: Bootstrap = None, form: Format = None) -> None:
    """Take all that is left of an order that is decided as done: the rest is then your business."""
    _act(order, ActOnSaga("COMPLETE", getuser(), reason), bootstrap, form)


@app.command()
def annotate(order: Order, reason: Reason, bootstrap: Bootstrap = None, form: Format = None) -> None:
    """Leave a remark in the saga's history."""
    _act(order, ActOnSaga("ANNOTATE", getuser(), reason), bootstrap, form)


def _act(order: str, wish: ActOnSaga, bootstrap: str | None, form: str | None) -> None:
    """Sends an act to the saga's key; whether it was done shows in its history, for it may mean nothing there."""
    kafka = address(bootstrap)
    with failing_plainly():
        if workers.saga(workers.find(kafka), order) is None:
            raise NotFound(f"there is no saga of order {order}")
    message = first_message(SOURCE, "sagas", order, wish)
    partition, offset = send(kafka, SAGAS_DEADLINES, encoded(message))
    sent = {"id": message.envelope.id, "order_id": order, "act": wish.act, "by": wish.by, "reason": wish.reason}
    print_document({**sent, "topic": SAGAS_DEADLINES, "partition": partition, "offset": offset}, form)


def _saga(order: str, bootstrap: str | None) -> dict[str, Any]:
    with failing_plainly():
        saga = workers.saga(workers.find(address(bootstrap)), order)
    if saga is None:
        raise NotFound(f"there is no saga of order {order}")
    return saga


def _seconds(duration: str) -> str:
    at = now()
    try:
        return str(round(at.timestamp() - parse_moment(duration, at) / 1_000))
    except ValueError:
        raise WrongUsage(f"{duration!r} is no duration such as 90s or 5m") from None


def _summary(saga: dict[str, Any]) -> dict[str, Any]:
    waits = [f"{waits['step']}/{waits['line']}" if waits["line"] else waits["step"] for waits in saga["waiting_for"]]
    return {
        "order_id": saga["order_id"],
        "status": saga["state"],
        "reason": saga["reason"],
        "age_s": saga["age_s"],
        "attempts": sum(saga["attempts"].values()),
        "waits_for": ", ".join(waits[:5]) + (" …" if len(waits) > 5 else ""),
        "error": saga["error"],
        "next_timer": saga["next_timer"],
        "version": saga["version"],
    }
