"""Which deaths count against the records that a process began with."""

from __future__ import annotations

from pathlib import Path

from faust.types import TP
from faust_rdkafka.probation import ALONE_AFTER, SET_ASIDE_AFTER, Probation

START = {TP("t", 0): 7, TP("t", 1): 3}


def die(file: Path, starts: dict[TP, int], *, alone: bool = False) -> None:
    """A process that ends while agents have the batch."""
    Probation(file).begin(starts, alone=alone)


def test_deaths_at_one_start_are_counted_over_processes(tmp_path: Path) -> None:
    file = tmp_path / "data" / "mark"
    assert Probation(file).deaths(START) == 0
    for count in (1, 2, 3):
        die(file, START)
        assert Probation(file).deaths(START) == count
    assert Probation(file).deaths({TP("t", 0): 8}) == 0


def test_a_batch_that_comes_through_ends_the_probation_and_leaves_no_mark(tmp_path: Path) -> None:
    file = tmp_path / "mark"
    die(file, START)
    probation = Probation(file)
    probation.begin(START)
    probation.end(over=True)
    probation.begin({TP("t", 0): 9})
    assert probation.over
    assert not file.exists()


def test_a_death_after_the_agents_were_done_counts_for_nothing(tmp_path: Path) -> None:
    file = tmp_path / "mark"
    probation = Probation(file)
    probation.begin(START)
    probation.end(over=False)
    assert Probation(file).deaths(START) == 0


def test_a_record_that_kills_alone_is_found_one_death_later(tmp_path: Path) -> None:
    file = tmp_path / "mark"
    for _ in range(ALONE_AFTER):
        die(file, START)
    culprit = {TP("t", 0): 9}
    die(file, culprit, alone=True)
    assert ALONE_AFTER <= Probation(file).deaths(culprit) < SET_ASIDE_AFTER
    die(file, culprit, alone=True)
    assert Probation(file).deaths(culprit) >= SET_ASIDE_AFTER


def test_a_mark_that_cannot_be_read_counts_for_nothing(tmp_path: Path) -> None:
    file = tmp_path / "mark"
    file.write_bytes(b"{")
    assert Probation(file).deaths(START) == 0


def test_without_a_file_nothing_is_written_and_it_is_over_at_once(tmp_path: Path) -> None:
    probation = Probation(None)
    probation.begin(START)
    assert probation.over
    assert list(tmp_path.iterdir()) == []
