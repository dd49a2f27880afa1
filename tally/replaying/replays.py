"""The replays of one cluster: plan, start, resume, pause, forget, and how each stands."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from getpass import getuser
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Self

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from schemas.codec import Codec
from schemas.envelope import now, to_rfc3339
from schemas.topics import REPLAYS
from tally.reading.reader import REQUEST_TIMEOUT_S, Reader, Unreachable
from tally.replaying import planning
from tally.replaying.errors import CannotGoOn, UnknownReplay, WrongReplay
from tally.replaying.files import File
from tally.replaying.journal import TRANSACTION_TIMEOUT_S, Journal
from tally.replaying.planning import Asked, Counted, Heard, Plan, Take
from tally.replaying.running import Parts, Running, Say
from tally.replaying.standing import (
    LOST_AFTER_S,
    WISH,
    Act,
    Progress,
    Replay,
    Standing,
    State,
    Wishes,
    is_settled,
    standings,
)
from tally.replaying.targets import Into, Kind, Shown, Target, parse_into
from tally.replaying.topics import TopicTarget, make_own_topics, make_topic, topic_ids

# The broker looks for overdue transactions every 10 s.
_SETTLED_WITHIN_S = TRANSACTION_TIMEOUT_S + 20
_PAUSED_WITHIN_S = 2 * LOST_AFTER_S
_LOOK_AGAIN_S = 0.1


@dataclass(frozen=True, slots=True)
class Work:
    """How this process takes part: `shown` gets the records of a replay into `print`; `stop` is set to pause."""

    shown: Shown
    stop: Event
    say: Say = lambda _: None


@dataclass(frozen=True, slots=True)
class _Tools:
    """What one process writes with."""

    journal: Journal
    target: Target
    work: Work


class Replays:
    """A context manager. Its methods raise the errors of `tally.replaying.errors`, Unreachable and UnknownTopic."""

    def __init__(self, bootstrap: str, codec: Codec) -> None:
        self._bootstrap, self._codec = bootstrap, codec
        self._reader = Reader(bootstrap)
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._reader.close()

    def plan(self, asked: Asked, at: datetime) -> Plan:
        """What would be done; durations back count from `at`."""
        if asked.id and asked.id in (there := self.standings()):
            state = there[asked.id].state
            raise WrongReplay(f"--id {asked.id}: there is such a replay, {state}; go on with --resume, or forget it")
        return planning.plan(self._reader, self._admin, asked, at)

    def count(self, plan: Plan, take: Take = lambda *_: None, say: Heard = lambda _: None) -> Counted:
        """What the plan's ranges hold; `take` gets each message that is meant, `say` the count now and then."""
        return planning.count(self._reader, plan, self._codec, take, say)

    def standings(self) -> dict[str, Standing]:
        """Every replay by id."""
        return standings(self._reader)

    def standing(self, id_: str) -> Standing:
        """One replay."""
        found = self.standings().get(id_)
        if found is None:
            raise UnknownReplay(id_)
        return found

    def start(self, plan: Plan, work: Work) -> Standing:
        """Does what was planned; returns when it is done or paused."""
        asked = plan.asked
        make_own_topics(self._admin)
        if plan.makes_partitions is not None:
            make_topic(self._admin, asked.into.name, plan.makes_partitions)
        replay = Replay(
            id=asked.id or new_replay_id(),
            ranges=plan.ranges,
            bounds=asked.bounds,
            into=str(asked.into),
            rate=asked.rate,
            reason=asked.reason,
            by=getuser(),
            created_at=to_rfc3339(now()),
            topic_ids=plan.topic_ids,
        )
        journal = Journal(self._bootstrap, replay.id)
        target = self._target(asked.into, replay.id, journal, work)
        journal.take_over()
        target.claim(is_new=True)
        begun = False
        try:
            progress = Progress({each.place: each.start for each in replay.ranges}, length=target.open(0))
            with self._running(replay, progress, _Tools(journal, target, work)) as running:
                running.begin(Act("START", replay.by, replay.reason))
                begun = True
                return running.run()
        finally:
            target.close(is_unused=not begun)

    def resume(self, id_: str, rate: float | None, work: Work, reason: str = "") -> Standing:
        """Goes on where the row says, whoever wrote it; another process at the same replay is fenced out."""
        standing = self.standing(id_)
        planning.check_rate(rate)
        if standing.state is State.DONE:
            raise WrongReplay(f"replay {id_} is done")
        journal = Journal(self._bootstrap, id_)
        target = self._target(parse_into(standing.replay.into), id_, journal, work)
        target.claim(is_new=False)
        try:
            journal.take_over()
            self._wait_settled(id_)
            standing = self.standing(id_)
            self._check_still_there(standing)
            target.open(standing.progress.length)
            replay = standing.replay if rate is None else replace(standing.replay, rate=rate)
            with self._running(replay, standing.progress, _Tools(journal, target, work)) as running:
                running.begin(Act("RESUME", getuser(), reason))
                return running.run()
        finally:
            target.close()

    def pause(self, id_: str, reason: str = "") -> Standing:
        """Asks the process that runs a replay to pause, and waits until it has, or is done."""
        standing = self.standing(id_)
        if standing.state is not State.RUNNING:
            raise WrongReplay(f"replay {id_} does not run, it is {standing.state}")
        producer = Producer({"bootstrap.servers": self._bootstrap, "partitioner": "murmur2_random", "log_level": 0})
        producer.produce(REPLAYS, Act("PAUSE", getuser(), reason).to_json(), f"{id_}{WISH}".encode())
        if producer.flush(REQUEST_TIMEOUT_S):
            raise Unreachable(f"Kafka at {self._bootstrap} did not take the wish")
        until = time.monotonic() + _PAUSED_WITHIN_S
        while (standing := self.standing(id_)).state is State.RUNNING:
            if time.monotonic() > until:
                raise Unreachable(f"no process answers for replay {id_}; go on with tally replay run --resume {id_}")
            time.sleep(_LOOK_AGAIN_S)
        return standing

    def forget(self, id_: str, reason: str = "") -> None:
        """Takes the row of a replay that does not run away; what it wrote stays."""
        standing = self.standing(id_)
        silent_s = time.time() - standing.at_ms / 1_000
        if standing.state is State.RUNNING and silent_s <= LOST_AFTER_S:
            raise WrongReplay(f"replay {id_} runs; tally replay pause {id_}")
        journal = Journal(self._bootstrap, id_)
        journal.take_over()
        make_own_topics(self._admin)
        journal.note(Act("FORGET", getuser(), reason), standing.replay, self._codec)
        journal.forget()

    @contextmanager
    def _running(self, replay: Replay, progress: Progress, tools: _Tools) -> Iterator[Running]:
        wishes, work = Wishes(self._reader, self._bootstrap, replay.id), tools.work
        parts = Parts(self._reader, tools.journal, tools.target, self._codec, work.stop, wishes.pause, work.say)
        try:
            yield Running(replay, progress, parts)
        finally:
            wishes.close()

    def _target(self, into: Into, id_: str, journal: Journal, work: Work) -> Target:
        match into.kind:
            case Kind.FILE:
                return File(Path(into.name), id_)
            case Kind.TOPIC:
                return TopicTarget(into.name, id_, journal)
            case Kind.PRINT:
                return work.shown

    def _check_still_there(self, standing: Standing) -> None:
        """Raises CannotGoOn where records that are to be replayed yet are gone, and UnknownTopic."""
        replay = standing.replay
        now_there = topic_ids(self._admin, {each.topic for each in replay.ranges})
        for topic, id_ in replay.topic_ids.items():
            if now_there[topic] != id_:
                raise CannotGoOn(
                    f"{topic} was made anew since replay {replay.id} began, and its offsets mean other records now; "
                    f"tally replay forget {replay.id}, and replay it from the start"
                )
        for each in replay.ranges:
            position = standing.progress.positions[each.place]
            low, high = self._reader.bounds(each.place)
            place = f"{each.topic}/{each.partition}"
            if position < each.end and low > position:
                raise CannotGoOn(f"{place} begins at offset {low} now; what stood from {position} on is gone")
            if high < each.end:
                raise CannotGoOn(f"{place} ends at offset {high} now, before {each.end}: its last records are gone")

    def _wait_settled(self, id_: str) -> None:
        """Another replay's open transaction may stand before our row; it ends, at the latest by its time-out."""
        until = time.monotonic() + _SETTLED_WITHIN_S
        while not is_settled(self._reader, self._bootstrap, id_):
            if time.monotonic() > until:
                raise Unreachable(f"a transaction on {REPLAYS} is open for longer than {_SETTLED_WITHIN_S:.0f} s")
            time.sleep(_LOOK_AGAIN_S)


def new_replay_id() -> str:
    """An id for a replay that was given none."""
    return f"r-{uuid.uuid4().hex[:8]}"
