"""Every interleaving of coordinators, recoverers and three participants, with lost, late and repeated messages."""

from __future__ import annotations

from random import Random

import pytest
from two_phase_model import NAMES, Rules, Two, explore

# The second coordinator asks the participants in the other order: each may hold what the other wants next.

BOTH = (Rules(), Rules(names=NAMES[::-1]))
SEED, WALKS = 20_261, 500


def test_whatever_is_lost_late_or_repeated_all_commit_or_none_or_it_is_reported() -> None:
    split, states = explore(Rules(operator=True))
    assert split == []
    assert states > 1_000


def test_where_nobody_acts_by_hand_nothing_is_ever_damaged() -> None:
    split, _ = explore(Rules())
    assert split == []


@pytest.mark.parametrize("rules", [Rules(compare_and_set=False), Rules(marker=False, operator=True)])
def test_the_model_finds_a_split_where_a_guard_is_taken_away(rules: Rules) -> None:
    split, _ = explore(rules)
    assert split != []


@pytest.mark.parametrize(("faults", "recoveries"), [(0, 1), (2, 0), pytest.param(1, 1, marks=pytest.mark.slow)])
def test_of_two_coordinators_that_begin_the_same_work_one_at_most_does_it_and_neither_splits(
    faults: int, recoveries: int
) -> None:
    wrong, states = Two(BOTH, faults, recoveries).explore()
    assert wrong == []
    assert states > 10_000


def test_two_coordinators_split_where_a_guard_is_taken_away() -> None:
    wrong, _ = Two((Rules(compare_and_set=False), BOTH[1]), faults=0, recoveries=1).explore()
    assert wrong != []


@pytest.mark.slow
def test_with_more_faults_and_recoveries_than_can_be_run_through_no_walk_goes_wrong() -> None:
    two, dice = Two(BOTH, faults=4, recoveries=3), Random(SEED)
    assert all(two.walk(dice) for _ in range(WALKS)), f"seed {SEED}"
