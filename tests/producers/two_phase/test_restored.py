"""A server that comes back from an older backup: whatever the others know better is told as damage."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Queue

import psycopg
from running_system import wait_for
from two_phase_pair import Apart, Pair

from producers.two_phase.participant import Outcome
from producers.two_phase.recovery import Bounds, Pass, Recovery
from tally.local.databases import ServiceDatabase

OFTEN = Bounds(pass_every_s=0.2)
# What we promise once everybody is back.
TOLD_WITHIN_S = 30.0


def commit(apart: Apart) -> str:
    """One transaction, committed by both and ended; the id of its row."""
    process, id_ = apart.pair.start("after forget", signal.SIGKILL)
    process.wait(60)
    assert apart.pair.there(id_) == (True, True)
    return id_


def age_markers(payments: ServiceDatabase) -> None:
    """All that was committed was so longer ago than a pass looks back."""
    with psycopg.connect(payments.owner_url) as connection:
        connection.execute("update two_phase_markers set prepared_at = prepared_at - interval '1 day'")


def test_a_participant_restored_from_an_older_backup_is_told_as_damage(apart: Apart) -> None:
    commit(apart)
    backup = apart.own.back_up()
    lost = [commit(apart) for _ in range(2)]
    apart.own.restore(backup)
    assert [apart.pair.there(id_) for id_ in lost] == [(True, False)] * 2
    recovery = apart.pair.recovery()
    assert len(recovery.verify("payments")) == len(lost)
    assert recovery.verify("payments") == []
    damaged = apart.pair.decisions.damaged()
    assert [each.damage for each in damaged] == [{"payments": "HEURISTIC_ROLLBACK"}] * 2
    assert all(apart.pair.decisions.forget(each.transaction) for each in damaged)


def test_decisions_restored_from_an_older_backup_are_told_as_damage_of_those_who_committed(
    orders_apart: Apart, payments_database: ServiceDatabase
) -> None:
    pair = orders_apart.pair
    commit(orders_apart)
    backup = orders_apart.own.back_up()
    lost = commit(orders_apart)
    orders_apart.own.restore(backup)
    assert pair.there(lost) == (False, True)
    age_markers(payments_database)
    recovery = pair.recovery()
    assert recovery.run_pass().settled == {}
    assert len(recovery.verify("payments")) == 1
    assert recovery.verify("payments") == []
    (damaged,) = pair.decisions.damaged()
    assert (damaged.outcome, damaged.damage) == (Outcome.ABORT, {"payments": "HEURISTIC_COMMIT"})


def test_what_a_backup_has_prepared_still_ends_as_it_was_decided(apart: Apart) -> None:
    pair = apart.pair
    process, id_ = pair.start("after decision", signal.SIGKILL)
    process.wait(60)
    backup = apart.own.back_up()
    pair.settle()
    apart.own.restore(backup)
    assert len(pair.prepared()) == 1
    pair.settle()
    assert pair.recovery().verify("payments") == []
    assert pair.there(id_) == (True, True)


def test_a_participant_restored_while_recovery_runs_is_told_as_damage_too(apart: Apart) -> None:
    backup = apart.own.back_up()
    with recovering(apart.pair) as passes:
        commit(apart)
        apart.own.restore(backup)
        until(passes, lambda found: found.damaged == 1)
    (damaged,) = apart.pair.decisions.damaged()
    assert damaged.damage == {"payments": "HEURISTIC_ROLLBACK"}


def test_decisions_restored_while_recovery_runs_are_told_as_damage_too(
    orders_apart: Apart, payments_database: ServiceDatabase
) -> None:
    backup = orders_apart.own.back_up()
    with recovering(orders_apart.pair) as passes:
        commit(orders_apart)
        age_markers(payments_database)
        orders_apart.own.restore(backup)
        until(passes, lambda found: found.damaged == 1)
    (damaged,) = orders_apart.pair.decisions.damaged()
    assert damaged.damage == {"payments": "HEURISTIC_COMMIT"}


@contextmanager
def recovering(pair: Pair) -> Iterator[Queue[Pass]]:
    """Recovery runs, and has compared all there was."""
    passes = Queue[Pass]()
    recovery = Recovery(pair.decisions.begin_life("test"), pair.decisions, pair.participants, OFTEN, passes.put)
    recovery.start()
    try:
        for _ in range(2):
            assert passes.get(timeout=TOLD_WITHIN_S).out_of_reach == []
        yield passes
    finally:
        recovery.stop()


def until(passes: Queue[Pass], holds: Callable[[Pass], bool]) -> None:
    wait_for(lambda: holds(passes.get(timeout=TOLD_WITHIN_S)), TOLD_WITHIN_S, "a pass that finds it")
