"""What is done behind the coordinator's back is recorded and told; what is not decided can be ended by an operator."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Mapping

import psycopg
import pytest
from two_phase_pair import INSERT, Pair

from producers.two_phase.errors import DecidedOtherwise, NotAtAll
from producers.two_phase.inspecting import held
from producers.two_phase.operating import Operator, Who
from producers.two_phase.participant import Branch, Outcome, Resolution

BOTH = ("orders", "payments")
WHO = Who("ann", "told so")


def test_an_operators_rollback_prepared_behind_our_back_is_kept_as_damage_until_it_is_forgotten(pair: Pair) -> None:
    process, id_ = pair.start("after decision", signal.SIGKILL)
    process.wait(60)
    (gid,) = [str(each.identifier) for each in pair.participants["payments"].prepared()]
    with psycopg.connect(pair.payments_url, autocommit=True) as connection:
        connection.execute(f"rollback prepared '{gid}'")
    pair.recovery().run_pass()
    assert pair.there(id_) == (True, False)
    (damaged,) = pair.decisions.damaged()
    assert damaged.damage == {"payments": "HEURISTIC_ROLLBACK"}
    operator = Operator(pair.decisions, pair.participants)
    assert [each.transaction for each in operator.open()] == [damaged.transaction]
    assert operator.forget(damaged.transaction, WHO)
    assert not operator.forget(damaged.transaction, WHO)
    assert operator.open() == []


def test_an_operators_commit_prepared_before_any_decision_is_damage_too(pair: Pair) -> None:
    process, id_ = pair.start("before decision", signal.SIGKILL)
    process.wait(60)
    (prepared,) = pair.participants["orders"].prepared()
    with psycopg.connect(pair.orders_url, autocommit=True) as connection:
        connection.execute(f"commit prepared '{prepared.identifier}'")
    pair.recovery().run_pass()
    assert pair.there(id_) == (True, False)
    (damaged,) = pair.decisions.damaged()
    assert (damaged.outcome, damaged.damage) == (Outcome.ABORT, {"orders": "HEURISTIC_COMMIT"})
    assert pair.decisions.forget(damaged.transaction)


def test_an_operator_ends_what_is_prepared_everywhere_and_cannot_break_a_decision(pair: Pair) -> None:
    process, id_ = pair.start("before decision", signal.SIGKILL)
    process.wait(60)
    operator = Operator(pair.decisions, pair.participants)
    (found,) = operator.open()
    assert sorted(found.prepared) == ["orders", "payments"]
    assert operator.force(found.transaction, Outcome.COMMIT, WHO) == dict.fromkeys(BOTH, Resolution.AS_DECIDED)
    assert pair.there(id_) == (True, True)
    with pytest.raises(DecidedOtherwise):
        operator.force(found.transaction, Outcome.ABORT, WHO)


def test_what_only_some_have_prepared_cannot_be_committed_by_hand(pair: Pair) -> None:
    process, id_ = pair.start("after prepare orders", signal.SIGKILL)
    process.wait(60)
    operator = Operator(pair.decisions, pair.participants)
    (found,) = operator.open()
    with pytest.raises(NotAtAll):
        operator.force(found.transaction, Outcome.COMMIT, WHO)
    operator.force(found.transaction, Outcome.ABORT, WHO)
    assert pair.there(id_) == (False, False)


def test_what_is_prepared_tells_what_it_holds(pair: Pair) -> None:
    process, _ = pair.start("before decision", signal.SIGKILL)
    process.wait(60)
    with psycopg.connect(pair.orders_url, autocommit=True) as connection:
        (found,) = held(connection)
    assert "commands" in found.tables
    assert "no logical slot can be created" in found.told
    pair.recovery().run_pass()


def test_a_branch_that_only_read_drops_out_and_a_single_writer_commits_at_once(pair: Pair) -> None:
    id_ = str(uuid.uuid4())

    def work(branches: Mapping[str, Branch]) -> None:
        branches["payments"].connection.execute("select count(*) from commands")
        branches["orders"].connection.execute(INSERT, (id_,))

    before = pair.decisions.committed("orders")
    assert pair.coordinator().run(BOTH, work) is Outcome.COMMIT
    assert pair.there(id_) == (True, False)
    assert pair.decisions.committed("orders") == before


def test_work_that_raises_leaves_nothing(pair: Pair) -> None:
    id_ = str(uuid.uuid4())

    def work(branches: Mapping[str, Branch]) -> None:
        branches["orders"].connection.execute(INSERT, (id_,))
        raise LookupError(id_)

    with pytest.raises(LookupError):
        pair.coordinator().run(BOTH, work)
    assert pair.there(id_) == (False, False)
