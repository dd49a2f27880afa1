"""A model of two-phase commit: the real conversations with lost, late and repeated messages, for every interleaving.

The conversations are those of the real coordinator and the real recovery; only what answers them is in memory.
A state is the world of one transaction plus what each conversation about it has heard; each is visited once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from random import Random

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
NOWHERE: frozenset[str] = frozenset()
# The states of two transactions, by number.
Pair = tuple[int, int]


@dataclass(frozen=True)
class World:
    """What outlives processes: the participants' states, the decision, the damage; and messages that may come late."""

    states: tuple[str, ...] = (IDLE,) * len(NAMES)
    decision: Outcome | None = None
    damage: frozenset[str] = frozenset()
    late: frozenset[Call] = frozenset()
    faults_left: int = 2

    def where(self, state: str) -> frozenset[str]:
        """The participants that are in this state."""
        return frozenset(name for name, at in zip(NAMES, self.states, strict=True) if at == state)


@dataclass(frozen=True)
class State:
    """The world, and the answers that each coordinator has heard; None: it is dead or has ended."""

    world: World
    heard: tuple[tuple[Answer, ...] | None, ...] = ((), None)
    recoverer_decided: Outcome | None = None
    recoveries_left: int = 1


@dataclass(frozen=True)
class Rules:
    """The protocol, or one that lacks a guard; `names` in the order in which the beginner asks them."""

    marker: bool = True
    compare_and_set: bool = True
    operator: bool = False
    names: tuple[str, ...] = NAMES

    def conversation(self, who: int, state: State) -> Conversation:
        """What a coordinator says."""
        return coordinate(self.names) if who == BEGINNER else recover(self.names, state.recoverer_decided)

    def next_call(self, who: int, state: State) -> Call | None:
        """What a coordinator asks after what it heard; None at its end."""
        heard = state.heard[who]
        assert heard is not None
        talk = self.conversation(who, state)
        try:
            call = next(talk)
            for answer in heard:
                call = talk.send(answer)
        except StopIteration:
            return None
        return call

    def deliver(self, world: World, call: Call, refusing: frozenset[str] = NOWHERE) -> tuple[World, Answer]:
        """What the participants and the decision row do; those in `refusing` cannot prepare now."""
        match call:
            case Prepare(name):
                if name in refusing or name not in world.where(IDLE):
                    return world, Vote.NO
                return _with(world, name, PREPARED), Vote.YES
            case Decide(outcome):
                if world.decision is None or not self.compare_and_set:
                    world = replace(world, decision=outcome)
                return world, world.decision
            case Resolve(name, outcome):
                return self._resolve(world, name, outcome)
            case End(damage):
                return replace(world, damage=world.damage | {name for name, _ in damage}), None

    def _resolve(self, world: World, name: str, outcome: Outcome) -> tuple[World, Resolution]:
        state = world.states[NAMES.index(name)]
        if state == PREPARED:
            return _with(world, name, COMMITTED if outcome is Outcome.COMMIT else ROLLED_BACK), Resolution.AS_DECIDED
        if not self.marker or (state == COMMITTED) is (outcome is Outcome.COMMIT):
            return world, Resolution.AS_DECIDED
        return world, Resolution.HEURISTIC_COMMIT if state == COMMITTED else Resolution.HEURISTIC_ROLLBACK

    def moves(self, state: State, refusing: frozenset[str] = NOWHERE) -> Iterator[State]:
        """All that can happen next."""
        world = state.world
        for who, heard in enumerate(state.heard):
            if heard is not None:
                yield from self._moves_of(state, who, heard, refusing)
        for call in world.late:
            after, _ = self.deliver(world, call, refusing)
            yield replace(state, world=replace(after, late=world.late - {call}))
        if self.operator and world.faults_left:
            for name in world.where(PREPARED):
                for by_hand in (COMMITTED, ROLLED_BACK):
                    yield replace(state, world=_fault(_with(world, name, by_hand)))
        if state.recoveries_left and state.heard[RECOVERER] is None and {PREPARED, COMMITTED} & set(world.states):
            yield replace(
                state,
                heard=(state.heard[BEGINNER], ()),
                recoverer_decided=world.decision,
                recoveries_left=state.recoveries_left - 1,
            )

    def _moves_of(self, state: State, who: int, heard: tuple[Answer, ...], refusing: frozenset[str]) -> Iterator[State]:
        world, call = state.world, self.next_call(who, state)
        if call is None:
            yield _hears(state, who, None)
            return
        after, answer = self.deliver(world, call, refusing)
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

    def after_quiet(self, world: World) -> World:
        """The world after recovery had all the time and nothing more is lost."""
        if not {PREPARED, COMMITTED} & set(world.states) and world.decision is None:
            return world  # no identifier and no marker tells of it
        talk = recover(self.names, world.decision)
        try:
            call = next(talk)
            while True:
                world, answer = self.deliver(world, call)
                call = talk.send(answer)
        except StopIteration:
            return world

    def is_split(self, world: World) -> bool:
        """Whether a transaction that is at rest has some committed, some not, and nobody is told.

        Where no operator acts by hand, damage that is told of is a split too: the protocol alone does none.
        """
        end = self.after_quiet(world) if self.marker else world
        outcomes = {at == COMMITTED for at in end.states}
        is_told = bool(end.damage) and self.operator
        return PREPARED in end.states or (len(outcomes) > 1 and not is_told) or (bool(end.damage) and not is_told)


def _with(world: World, name: str, state: str) -> World:
    return replace(world, states=tuple(state if n == name else old for n, old in zip(NAMES, world.states, strict=True)))


def _hears(state: State, who: int, heard: tuple[Answer, ...] | None) -> State:
    return replace(state, heard=tuple(heard if n == who else old for n, old in enumerate(state.heard)))


def _lost(call: Call) -> Answer:
    if isinstance(call, Prepare):
        return Vote.NO
    return Resolution.UNKNOWN if isinstance(call, Resolve) else None


def _fault(world: World, late: Call | None = None) -> World:
    return replace(world, faults_left=world.faults_left - 1, late=world.late | ({late} if late else set()))


def explore(rules: Rules) -> tuple[list[World], int]:
    """The worlds in which one transaction ends split, and how many states there were."""
    first = State(World())
    seen, waiting, split = {first}, [first], []
    while waiting:
        state = waiting.pop()
        following = list(rules.moves(state))
        if not following and rules.is_split(state.world):
            split.append(state.world)
        for new in following:
            if new not in seen:
                seen.add(new)
                waiting.append(new)
    return split, len(seen)


@dataclass
class Side:
    """One of two transactions that want the same rows: its states by number, each worked out once."""

    rules: Rules
    states: list[State] = field(default_factory=list)
    numbers: dict[State, int] = field(default_factory=dict)
    following: dict[tuple[int, frozenset[str]], tuple[int, ...]] = field(default_factory=dict)
    refusals: list[frozenset[str]] = field(default_factory=list)
    faults_left: list[int] = field(default_factory=list)
    committed: list[bool] = field(default_factory=list)

    def number(self, state: State) -> int:
        """The state's number; a new one is kept."""
        found = self.numbers.get(state)
        if found is None:
            found = self.numbers[state] = len(self.states)
            world = state.world
            self.states.append(state)
            # Who holds a row lets nobody else prepare; the work itself is at the first participant, and is there once.
            self.refusals.append(world.where(PREPARED) | (world.where(COMMITTED) & {NAMES[0]}))
            self.faults_left.append(world.faults_left)
            self.committed.append(bool(world.where(COMMITTED)))
        return found

    def after(self, number: int, refusing: frozenset[str]) -> tuple[int, ...]:
        """The numbers of the states that may follow."""
        found = self.following.get((number, refusing))
        if found is None:
            new = {self.number(state) for state in self.rules.moves(self.states[number], refusing)}
            found = self.following[number, refusing] = tuple(new)
        return found


@dataclass
class Two:
    """Two coordinators that begin at once, each its own transaction over the same rows of the same participants.

    `faults` are those of both together, `recoveries` those of each transaction.
    """

    rules: tuple[Rules, Rules]
    faults: int
    recoveries: int

    def __post_init__(self) -> None:
        first = State(World(faults_left=self.faults), recoveries_left=self.recoveries)
        self.sides = tuple(Side(each) for each in self.rules)
        self.start = (self.sides[0].number(first), self.sides[1].number(first))

    def following(self, pair: Pair) -> list[Pair]:
        """The pairs of states that may follow."""
        one, two = self.sides
        pairs = [(new, pair[1]) for new in one.after(pair[0], two.refusals[pair[1]])]
        pairs += [(pair[0], new) for new in two.after(pair[1], one.refusals[pair[0]])]
        return [new for new in pairs if one.faults_left[new[0]] + two.faults_left[new[1]] >= self.faults]

    def is_wrong(self, pair: Pair, *, is_end: bool) -> bool:
        """Whether both did the work that may be done once, or one ends split."""
        told = list(zip(self.sides, pair, strict=True))
        if all(side.committed[number] for side, number in told):
            return True
        return is_end and any(side.rules.is_split(side.states[number].world) for side, number in told)

    def explore(self) -> tuple[list[Pair], int]:
        """The pairs that are wrong, of all that can be; and how many there were."""
        seen, waiting, wrong = {self.start}, [self.start], []
        while waiting:
            pair = waiting.pop()
            following = self.following(pair)
            if self.is_wrong(pair, is_end=not following):
                wrong.append(pair)
            for new in following:
                if new not in seen:
                    seen.add(new)
                    waiting.append(new)
        return wrong, len(seen)

    def walk(self, dice: Random) -> bool:
        """One way from the start to an end, as the dice fall; whether nothing on it was wrong."""
        pair, following = self.start, self.following(self.start)
        while following:
            if self.is_wrong(pair, is_end=False):
                return False
            pair = dice.choice(following)
            following = self.following(pair)
        return not self.is_wrong(pair, is_end=True)
