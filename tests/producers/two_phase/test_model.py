"""Every interleaving of a coordinator, a recoverer and three participants, with lost, late and repeated messages.

The conversations are those of the real coordinator and the real recovery; only what answers them is in memory.
A state is the world plus what each conversation has heard; each is visited once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from producers.two_phase.participant import Outcome, Resolution, Vote
from producers.two_phase.protocol import (
    Answer,
    Call,
    Conversation,
    Decide,
    End,
    Prepare,
    Resolve,
    coordinate,
    recover,
)

NAMES = ("a", "b", "c")
IDLE, PREPARED, COMMITTED, ROLLED_BACK = "idle", "prepared", "committed", "rolled back"
# The coordinator that began the transaction, and one that recovers it while the first runs, stalls or is dead.
BEGINNER, RECOVERER = 0, 1


@dataclass(frozen=True)
class World:
    """What outlives processes: the participants' states, the decision, the damage; and messages that may come late."""

    states: tuple[str, ...] = (IDLE,) * len(NAMES)
    decision: Outcome | None = None
    damage: frozenset[str] = frozenset()
    late: frozenset[Call] = frozenset()
    faults_left: int = 2


@dataclass(frozen=True)
class State:
    """The world, and the answers that each coordinator has heard; None: it is dead or has ended."""

    world: World
    heard: tuple[tuple[Answer, ...] | None, ...] = ((), None)
    recoverer_decided: Outcome | None = None
    recoveries_left: int = 1


def conversation(who: int, state: State) -> Conversation:
    return coordinate(NAMES) if who == BEGINNER else recover(NAMES, state.recoverer_decided)


def next_call(who: int, state: State) -> Call | None:
    """What a coordinator asks after what it heard; None at its end."""
    heard = state.heard[who]
    assert heard is not None
    talk = conversation(who, state)
    try:
        call = next(talk)
        for answer in heard:
            call = talk.send(answer)
    except StopIteration:
        return None
    return call


def deliver(world: World, call: Call, *, marker: bool = True, compare_and_set: bool = True) -> tuple[World, Answer]:
    """What the participants and the decision row do; without markers or compare-and-set, as a naive protocol would."""
    match call:
        case Prepare(name):
            state = world.states[NAMES.index(name)]
            return (_with(world, name, PREPARED), Vote.YES) if state == IDLE else (world, Vote.NO)
        case Decide(outcome):
            if world.decision is None or not compare_and_set:
                world = replace(world, decision=outcome)
            return world, world.decision
        case Resolve(name, outcome):
            return _resolve(world, name, outcome, marker=marker)
        case End(damage):
            return replace(world, damage=world.damage | {name for name, _ in damage}), None


def _resolve(world: World, name: str, outcome: Outcome, *, marker: bool) -> tuple[World, Resolution]:
    state = world.states[NAMES.index(name)]
    if state == PREPARED:
        return _with(world, name, COMMITTED if outcome is Outcome.COMMIT else ROLLED_BACK), Resolution.AS_DECIDED
    if not marker or (state == COMMITTED) is (outcome is Outcome.COMMIT):
        return world, Resolution.AS_DECIDED
    return world, Resolution.HEURISTIC_COMMIT if state == COMMITTED else Resolution.HEURISTIC_ROLLBACK


def _with(world: World, name: str, state: str) -> World:
    return replace(world, states=tuple(state if n == name else old for n, old in zip(NAMES, world.states, strict=True)))


def moves(state: State, *, marker: bool, compare_and_set: bool, operator: bool) -> Iterator[State]:
    """All that can happen next."""
    world = state.world
    for who, heard in enumerate(state.heard):
        if heard is None:
            continue
        call = next_call(who, state)
        if call is None:
            yield _hears(state, who, None)
            continue
        after, answer = deliver(world, call, marker=marker, compare_and_set=compare_and_set)
        yield _hears(replace(state, world=after), who, (*heard, answer))
        if world.faults_left:
            lost = _lost(call)
            yield _hears(replace(state, world=_fault(world)), who, (*heard, lost))
            yield _hears(replace(state, world=_fault(after)), who, (*heard, lost))
            yield _hears(replace(state, world=_fault(world, call)), who, (*heard, lost))
            # A crash: what a dead coordinator had open but not prepared is rolled back by its server.
            yield _hears(replace(state, world=_fault(world)), who, None)
            if isinstance(call, Resolve):
                yield _hears(replace(state, world=_fault(after, call)), who, (*heard, answer))
    for call in world.late:
        after, _ = deliver(world, call, marker=marker, compare_and_set=compare_and_set)
        yield replace(state, world=replace(after, late=world.late - {call}))
    if operator and world.faults_left:
        for name, at in zip(NAMES, world.states, strict=True):
            if at == PREPARED:
                for by_hand in (COMMITTED, ROLLED_BACK):
                    yield replace(state, world=_fault(_with(world, name, by_hand)))
    if state.recoveries_left and state.heard[RECOVERER] is None and {PREPARED, COMMITTED} & set(world.states):
        yield replace(
            state,
            heard=(state.heard[BEGINNER], ()),
            recoverer_decided=world.decision,
            recoveries_left=state.recoveries_left - 1,
        )


def _hears(state: State, who: int, heard: tuple[Answer, ...] | None) -> State:
    return replace(state, heard=tuple(heard if n == who else old for n, old in enumerate(state.heard)))


def _lost(call: Call) -> Answer:
    if isinstance(call, Prepare):
        return Vote.NO
    return Resolution.UNKNOWN if isinstance(call, Resolve) else None


def _fault(world: World, late: Call | None = None) -> World:
    return replace(world, faults_left=world.faults_left - 1, late=world.late | ({late} if late else set()))


def after_quiet(world: World) -> World:
    """The world after recovery had all the time and nothing more is lost."""
    if not {PREPARED, COMMITTED} & set(world.states) and world.decision is None:
        return world  # no identifier and no marker tells of it
    talk = recover(NAMES, world.decision)
    try:
        call = next(talk)
        while True:
            world, answer = deliver(world, call)
            call = talk.send(answer)
    except StopIteration:
        return world


def split_worlds(
    *, marker: bool = True, compare_and_set: bool = True, operator: bool = True
) -> tuple[list[World], int]:
    """Ends at which some committed, some did not, and nobody is told; and how many states there were.

    Where no operator acts by hand, damage that is told of is one too: the protocol alone does none.
    """
    first = State(World())
    seen, waiting, split = {first}, [first], []
    while waiting:
        state = waiting.pop()
        following = list(moves(state, marker=marker, compare_and_set=compare_and_set, operator=operator))
        if not following:
            end = after_quiet(state.world) if marker else state.world
            outcomes = {at == COMMITTED for at in end.states}
            if PREPARED in end.states or (len(outcomes) > 1 and not end.damage) or (end.damage and not operator):
                split.append(end)
        for new in following:
            if new not in seen:
                seen.add(new)
                waiting.append(new)
    return split, len(seen)


def test_whatever_is_lost_late_or_repeated_all_commit_or_none_or_it_is_reported() -> None:
    split, states = split_worlds()
    assert split == []
    assert states > 1_000


def test_where_nobody_acts_by_hand_nothing_is_ever_damaged() -> None:
    split, _ = split_worlds(operator=False)
    assert split == []


@pytest.mark.parametrize(("guard", "operator"), [("compare_and_set", False), ("marker", True)])
def test_the_model_finds_a_split_where_a_guard_is_taken_away(guard: str, operator: bool) -> None:
    split, _ = split_worlds(marker=guard != "marker", compare_and_set=guard != "compare_and_set", operator=operator)
    assert split != []
