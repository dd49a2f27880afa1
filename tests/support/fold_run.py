"""One app of fold_worker.py: its topics, the commands sent to it, its workers, and what has to come out."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

Rows = dict[tuple[int, str], Any]
FINISH_WITHIN_S = 120.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """All but `commands` are 0 when all is right. `rows`: keys whose last changelog record is not the fold's."""

    commands: int
    duplicates: int
    lost: int
    wrong: int
    rows: int


class FoldRun:
    def __init__(
        self, broker: Any, workers: Any, until: Callable[..., None], notes: Path, count: int, keys: int, **settings: str
    ) -> None:
        self.broker, self.workers, self.count, self.keys = broker, workers, 0, keys
        self.app, self.src, self.out = broker.name("fold"), broker.topic("src"), broker.topic("out")
        self.restored_file = notes / "restored"
        self.settings = {
            "app": self.app,
            "src": self.src,
            "out": self.out,
            "restored": str(self.restored_file),
            **settings,
        }
        self._until = until
        self.send(count)

    def send(self, count: int) -> None:
        numbers = range(self.count, self.count + count)
        self.broker.send(self.src, *[(f"k{n % self.keys}", {"n": n, "quantity": n % 7}) for n in numbers])
        self.count += count

    def keep_ahead(self, count: int) -> None:
        """So many commands wait at least."""
        if self.count - self.done() < count:
            self.send(count)

    def start(self, instance: str = "0", **settings: str) -> Any:
        return self.workers.start(**{**self.settings, "instance": instance, **settings})

    def members(self) -> list[Any]:
        """The members of the group that own partitions."""
        return [m for m in self.broker.members(self.app) if m.assignment.topic_partitions]

    def done(self) -> int:
        done: int = self.broker.committed(self.app, self.src)
        return done

    def finished(self) -> bool:
        return self.done() >= self.count

    def finish(self, *processes: Any) -> None:
        """All commands are done; then the workers end in order."""
        self._until(self.finished, FINISH_WITHIN_S)
        for process in processes:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0

    def restores(self) -> list[tuple[int, float]]:
        """(changelog records, seconds) that each start's restore took, in order."""
        if not self.restored_file.exists():
            return []
        return [(int(a), float(b)) for a, b in map(str.split, self.restored_file.read_text().splitlines())]

    # -- what has to come out

    def fold(self, without: int = -1) -> tuple[dict[int, Any], Rows]:
        """The outcome of each command and the last rows, of a sequential fold."""
        outcomes: dict[int, Any] = {}
        rows: Rows = {}
        for message in self.broker.read(self.src):
            command = orjson.loads(message.value())
            if command["n"] == without:
                continue
            place = (message.partition(), message.key().decode())
            old = rows.get(place, {"total": 0, "version": 0})
            rows[place] = {"total": old["total"] + command["quantity"], "version": old["version"] + 1}
            outcomes[command["n"]] = {"n": command["n"], **rows[place]}
        return outcomes, rows

    def verdict(self, without: int = -1) -> Verdict:
        """As a read_committed reader finds it."""
        expected, rows = self.fold(without)
        outcomes = [orjson.loads(m.value()) for m in self.broker.read(self.out)]
        times = Counter(outcome["n"] for outcome in outcomes)
        found = self.broker.table(f"{self.app}-fold-changelog")
        return Verdict(
            commands=len(expected),
            duplicates=sum(count - 1 for count in times.values()),
            lost=len(expected.keys() - times.keys()),
            wrong=sum(expected.get(outcome["n"]) != outcome for outcome in outcomes),
            rows=sum(found.get(place) != rows.get(place) for place in found.keys() | rows.keys()),
        )

    def check(self, without: int = -1) -> None:
        """Each command has exactly one outcome, the one of a sequential fold; the changelog is the fold's end."""
        found = self.verdict(without)
        assert found == Verdict(found.commands, 0, 0, 0, 0)
        assert found.commands == self.count - (without >= 0)
