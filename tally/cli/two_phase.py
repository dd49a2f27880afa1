"""The verbs of two-phase commits: list, show; commit, rollback, forget, each with a reason that is kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from getpass import getuser
from typing import Annotated, Any
from uuid import UUID

import psycopg
import typer

from producers.store.connections import PoolSize, open_pool
from producers.two_phase.decisions import Decisions
from producers.two_phase.errors import ForceRefused, NotPrepared
from producers.two_phase.inspecting import held
from producers.two_phase.operating import Open, Operator, Who
from producers.two_phase.participant import Outcome
from producers.two_phase.postgres import PostgresParticipant
from tally.cli.failures import CheckFailed, Failure, NotFound, OutOfReach, WrongUsage, group
from tally.cli.printing import Format, print_document, print_rows
from tally.settings import Settings

app = group("Two-phase commits: what is prepared, what was decided, and what was done behind their back.")

SERVICES = ("orders", "payments")
ASK_WITHIN_S = 5
_COLUMNS = ("transaction", "age_s", "decision", "prepared", "damage", "out_of_reach")

Transaction = Annotated[str, typer.Argument(metavar="TRANSACTION", help="The transaction's id, as `list` shows it.")]

Reason = Annotated[str, typer.Option(help="Why; kept in the audit trail.")]


@app.command("list")
def list_(form: Format = None) -> None:
    """Transactions that are prepared somewhere, not ended everywhere, or damaged."""
    with _operator() as operator:
        print_rows([_row(each) for each in operator.open()], _COLUMNS, form)


@app.command()
def show(transaction: Transaction, form: Format = None) -> None:
    """One transaction: decision, where it is prepared, and what it holds and blocks there."""
    id_ = _id(transaction)
    with _operator() as operator:
        found = operator.find(id_)
    if found is None:
        raise NotFound(f"no transaction {id_} is prepared or decided")
    print_document({**_row(found), **_blocked(id_)}, form)


@app.command()
def commit(transaction: Transaction, reason: Reason, form: Format = None) -> None:
    """Commit one that all participants have prepared; refused where it was decided otherwise."""
    _force(transaction, Outcome.COMMIT, reason, form)


@app.command()
def rollback(transaction: Transaction, reason: Reason, form: Format = None) -> None:
    """Roll one back everywhere; refused where it was decided otherwise."""
    _force(transaction, Outcome.ABORT, reason, form)


@app.command()
def forget(transaction: Transaction, reason: Reason) -> None:
    """Dismiss the damage of one, once its data was put right by hand."""
    with _operator() as operator:
        if not operator.forget(_id(transaction), Who(getuser(), reason)):
            raise NotFound(f"transaction {transaction} has no damage to dismiss")


def _force(transaction: str, outcome: Outcome, reason: str, form: str | None) -> None:
    id_ = _id(transaction)
    with _operator() as operator:
        try:
            came_to = operator.force(id_, outcome, Who(getuser(), reason))
        except NotPrepared as error:
            raise NotFound(str(error)) from None
        except ForceRefused as error:
            raise Failure(str(error)) from None
    print_document({name: resolution.value for name, resolution in came_to.items()}, form)
    if any(resolution.is_heuristic for resolution in came_to.values()):
        raise CheckFailed(f"transaction {id_} is damaged: a participant did the opposite")


@contextmanager
def _operator() -> Iterator[Operator]:
    settings = Settings()
    pools = {name: open_pool(settings.database_url(name), "tally-two-phase", PoolSize(0, 2)) for name in SERVICES}
    try:
        yield Operator(Decisions(pools["orders"]), {name: PostgresParticipant(name, pools[name]) for name in SERVICES})
    except psycopg.OperationalError as error:
        raise OutOfReach(f"a database does not answer: {error}") from None
    finally:
        for pool in pools.values():
            pool.close()


def _row(found: Open) -> dict[str, Any]:
    decision = found.decision
    return {
        "transaction": found.transaction,
        "age_s": round(found.age_s, 1),
        "decision": "" if decision is None else decision.outcome.value,
        "prepared": sorted(found.prepared),
        "damage": {} if decision is None else decision.damage,
        "out_of_reach": list(found.out_of_reach),
    }


def _blocked(transaction: str) -> dict[str, str]:
    settings, told = Settings(), {}
    for name in SERVICES:
        try:
            with psycopg.connect(
                settings.database_url(name), connect_timeout=ASK_WITHIN_S, autocommit=True
            ) as connection:
                for each in held(connection):
                    if each.identifier is not None and each.identifier.transaction == transaction:
                        told[f"at {name}"] = each.told
        except psycopg.OperationalError:
            told[f"at {name}"] = "out of reach"
    return told


def _id(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise WrongUsage(f"{text!r} is no transaction's id") from None
