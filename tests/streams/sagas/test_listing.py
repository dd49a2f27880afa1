"""The list of sagas: what commits and the one pass over the rows make of it, whichever of them meets a row first."""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta
from typing import Any

from schemas.envelope import to_rfc3339
from streams.sagas.listing import ENDED_KEPT_MAX, SagaList, standing
from streams.scenario import MOMENT

STATES = ("RUNNING", "COMPENSATING", "CONFIRMED", "REJECTED", "SHIPPED")


def _row(number: int, state: str) -> dict[str, Any]:
    ended = state not in ("RUNNING", "COMPENSATING")
    return {
        "order_id": f"o{number:05}",
        "status": "ENDED" if ended else state,
        "outcome": state if ended else None,
        "started_at": to_rfc3339(MOMENT + timedelta(seconds=number)),
    }


def _rows(*states: str) -> dict[str, dict[str, Any]]:
    return {row["order_id"]: row for row in (_row(n, state) for n, state in enumerate(states))}


def _commit(sagas: SagaList, rows: dict[str, Any], **changed: str) -> None:
    """Rows by order id get these states, as an agent and the commit after it do."""
    sagas.changing(0, rows, changed)
    rows |= {order_id: _row(int(order_id[1:]), state) for order_id, state in changed.items()}
    sagas.changed(0, rows, changed)


def _pass(sagas: SagaList, rows: dict[str, Any]) -> None:
    sagas.begin(0)
    sagas.add(0, [standing(row) for row in rows.values()])
    sagas.end(0)


def test_it_counts_by_state_and_names_the_newest_first() -> None:
    sagas, rows = SagaList(), _rows("CONFIRMED", "RUNNING", "CONFIRMED", "REJECTED")
    _pass(sagas, rows)
    assert sagas.counts() == {"CONFIRMED": 2, "RUNNING": 1, "REJECTED": 1}
    assert sagas.newest(None, 3) == [(0, "o00003"), (0, "o00002"), (0, "o00001")]
    assert sagas.newest("CONFIRMED", 9) == [(0, "o00002"), (0, "o00000")]


def test_a_commit_moves_a_saga_from_one_state_to_another() -> None:
    sagas, rows = SagaList(), _rows("RUNNING")
    _pass(sagas, rows)
    _commit(sagas, rows, o00000="CONFIRMED", o00001="RUNNING")
    assert +sagas.counts() == {"CONFIRMED": 1, "RUNNING": 1}
    assert sagas.newest("RUNNING", 9) == [(0, "o00001")]


def test_a_batch_that_was_undone_leaves_nothing_behind() -> None:
    sagas, rows = SagaList(), _rows("RUNNING")
    _pass(sagas, rows)
    sagas.changing(0, rows, ["o00000", "o00001"])  # and no commit
    _commit(sagas, rows, o00000="REJECTED")
    assert +sagas.counts() == {"REJECTED": 1}


def test_commits_during_the_pass_are_counted_once_whatever_it_has_met() -> None:
    rng = random.Random(4)
    for _ in range(50):
        sagas, rows = SagaList(), _rows(*rng.choices(STATES, k=30))
        noted = [standing(row) for row in rows.values()]
        sagas.begin(0)
        while noted:
            sagas.add(0, [noted.pop() for _ in range(min(len(noted), 7))])
            _commit(sagas, rows, **{f"o{rng.randrange(40):05}": rng.choice(STATES) for _ in range(5)})
        assert sagas.counts() == {}
        sagas.end(0)
        assert +sagas.counts() == Counter(standing(row).state for row in rows.values())
        assert sagas.newest(None, 100) == [(0, order_id) for order_id in sorted(rows, reverse=True)]


def test_of_the_ended_ones_only_the_newest_are_kept_and_all_are_counted() -> None:
    sagas, rows = SagaList(), _rows(*["CONFIRMED"] * (ENDED_KEPT_MAX + 5))
    _pass(sagas, rows)
    assert sagas.counts() == {"CONFIRMED": ENDED_KEPT_MAX + 5}
    assert len(sagas.newest(None, 10 * ENDED_KEPT_MAX)) == ENDED_KEPT_MAX
    assert sagas.newest(None, 1) == [(0, f"o{ENDED_KEPT_MAX + 4:05}")]


def test_a_refusal_that_nothing_answers_shows_as_stuck() -> None:
    row = {
        **_row(1, "RUNNING"),
        "saga_id": "s",
        "correlation_id": "c",
        "version": 3,
        "reason": None,
        "order_status": "CONFIRMED",
        "refusals": [["capture", 0, "GONE"]],
    }
    assert standing(row).state == "STUCK"


def test_a_dropped_partition_is_in_no_list() -> None:
    sagas = SagaList()
    _pass(sagas, _rows("RUNNING"))
    sagas.drop(0)
    assert (sagas.counts(), sagas.newest(None, 9)) == ({}, [])
