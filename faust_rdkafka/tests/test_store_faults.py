"""A worker with tables in RocksDB under kill -9 and on a full disk: store, changelog and a sequential fold agree."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from faust_rdkafka.stores.database import Database, Resources
from faust_rdkafka.stores.note import Note
from fold_run import FoldRun

KEYS = 400
EXIT_FATAL = 70
LOOP_WITHIN_S = 1800  # a kill and a start take two seconds on a quiet machine, ten on one that has other work
STEPS = (
    "before produce",
    "after produce",
    "after send offsets",
    "after flush",
    "after commit",
    "before store",
    "after store",
)
ROUNDS = 3


class StoredFold(FoldRun):
    """The same with a data directory; what the stores hold has to be the fold's end too."""

    def __init__(self, broker: Any, workers: Any, until: Any, data: Path, count: int, **settings: str) -> None:
        self.data = data
        stores = {"store": "rocksdb://", "datadir": str(data / "tables")}
        super().__init__(broker, workers, until, data, count, KEYS, **{**stores, **settings})

    def restored(self) -> list[int]:
        """Changelog records that each start read, in order."""
        return [records for records, _ in self.restores()]

    def folders(self, instance: str = "0") -> list[Path]:
        """The directories of the table's partitions, of one worker."""
        tables = self.data / "tables/v1/tables" / instance / "fold"
        return sorted(folder for folder in tables.iterdir() if folder.name.isdigit())

    def stored(self, instances: tuple[str, ...]) -> dict[tuple[int, str], Any]:
        """What the directories hold, read when no worker runs; of several the one that is furthest."""
        found: dict[int, tuple[int, dict[str, Any]]] = {}
        for folder in [folder for instance in instances for folder in self.folders(instance)]:
            database = Database(folder, Resources(), print)
            rows = {key.decode(): orjson.loads(value) for key, value in database.scan(b"")}
            found[int(folder.name)] = max(
                found.get(int(folder.name), (-1, {})), (database.note.offset, rows), key=lambda one: one[0]
            )
            database.close()
        return {(number, key): row for number, (_, rows) in found.items() for key, row in rows.items()}

    def last_changelog_records(self) -> list[Any]:
        """One a partition."""
        return list({m.partition(): m for m in self.broker.read(f"{self.app}-fold-changelog")}.values())

    def check(self, without: int = -1, instances: tuple[str, ...] = ("0",)) -> None:
        super().check(without)
        assert self.stored(instances) == self.fold(without)[1]


def end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def note_of(folder: Path) -> Note:
    database = Database(folder, Resources(), print)
    database.close()
    return database.note


@pytest.fixture
def fold(broker: Any, workers: Any, until: Any, tmp_path: Path) -> Callable[..., StoredFold]:
    return lambda count, **settings: StoredFold(broker, workers, until, tmp_path, count, **settings)


def test_a_worker_killed_at_random_moments_keeps_store_and_changelog_equal(fold: Any, kill_at_random: Any) -> None:
    kill_at_random(fold(20_000, records_max="50"), kills=6, seed=11)


@pytest.mark.slow
@pytest.mark.timeout(LOOP_WITHIN_S)
@pytest.mark.parametrize("seed", [12, 13, 14, 15])
def test_a_worker_killed_many_times_keeps_store_and_changelog_equal(
    fold: Any, kill_at_random: Any, soak: Any, seed: int
) -> None:
    run = fold(5_000, records_max="50")
    kill_at_random(run, kills=25, seed=seed, ahead=5_000)
    soak(run, f"25 kills at random, seed {seed}")


@pytest.mark.slow
@pytest.mark.timeout(LOOP_WITHIN_S)
def test_a_worker_killed_many_times_at_each_step_keeps_store_and_changelog_equal(
    fold: Any, until: Any, soak: Any
) -> None:
    run = fold(2_000, records_max="20")
    for step in STEPS * ROUNDS:
        run.keep_ahead(400)
        process = run.start(die_at=step)
        until(lambda process=process: process.poll() is not None)
        assert process.returncode == -signal.SIGKILL, step
    run.finish(run.start())
    run.check()
    soak(run, f"{ROUNDS} kills at each of {len(STEPS)} steps")


@pytest.mark.parametrize("place", ["batch", "before store", "after store"])
def test_a_worker_killed_at_a_step_reads_only_the_tail(fold: Any, until: Any, tmp_path: Path, place: str) -> None:
    run = fold(4_000, records_max="50", hold=place, gate=str(tmp_path))
    process = run.start()
    until(lambda: run.done() >= 2_000)
    (tmp_path / "hold").touch()
    until(lambda: (tmp_path / "held").exists() or run.send(50))
    process.kill()
    process.wait()
    process = run.start(hold="")
    run.send(1_000)
    until(run.finished, 60)
    end(process)
    first, second = run.restored()
    assert first == 0
    assert second <= 50  # the rows of one batch
    run.check()


def test_a_store_that_was_damaged_is_wiped_and_restored(fold: Any, until: Any) -> None:
    run = fold(2_000)
    process = run.start()
    until(run.finished)
    end(process)
    for folder in run.folders():
        (folder / "CURRENT").write_text("nonsense")
    process = run.start()
    run.send(1_000)
    until(run.finished)
    end(process)
    assert run.restored()[1] >= KEYS
    run.check()


def test_a_store_that_was_away_for_too_long_is_wiped_and_one_that_was_not_reads_the_tail(fold: Any, until: Any) -> None:
    """Meanwhile another worker wrote. Half of the changelog's seven days is the bound."""
    run = fold(2_000)
    for away_days, restored in ((3.4, range(1, KEYS)), (3.6, range(KEYS, 100_000))):
        for instance in ("0", "1"):
            process = run.start(instance=instance)
            until(run.finished)
            run.send(20)
            until(run.finished)
            end(process)
        for folder in run.folders("0"):
            database = Database(folder, Resources(), print)
            away_ms = int(away_days * 86_400_000)
            database.write((), replace(database.note, caught_up_ms=database.note.caught_up_ms - away_ms))
            database.close()
        run.send(20)
        process = run.start()
        until(run.finished)
        end(process)
        assert run.restored()[-1] in restored
        run.check()


def test_a_restore_that_was_killed_goes_on_where_it_was(fold: Any, until: Any, tmp_path: Path) -> None:
    run = fold(30_000, records_max="400", hold="after store", gate=str(tmp_path))
    process = run.start(store="memory://")
    until(run.finished, 60)
    end(process)
    (tmp_path / "hold").touch()
    process = run.start()
    until(lambda: (tmp_path / "held").exists())
    process.kill()
    process.wait()
    read = sum(max(note.offset, 0) for note in map(note_of, run.folders()))
    assert read > 0
    process = run.start()
    run.send(100)
    until(run.finished)
    end(process)
    ends = sum(1 + message.offset() for message in run.last_changelog_records())
    assert run.restored()[-1] <= ends - read
    run.check()


def test_workers_that_join_and_leave_hand_their_tables_over(fold: Any, until: Any) -> None:
    run = fold(20_000, records_max="20")
    first = run.start()
    until(lambda: run.done() > 0)
    for _ in range(2):
        second = run.start(instance="1")
        before = run.done()
        until(lambda before=before: run.done() > before + 2_000 or run.finished())
        second.kill()
        second.wait()
    second = run.start(instance="1")
    until(run.finished, 60)
    end(first)
    end(second)
    run.check(instances=("0", "1"))


def test_a_full_disk_ends_the_worker_and_loses_nothing(fold: Any, until: Any, tmp_path: Path) -> None:
    """The worker's tables lie on a file system of 600 kilobytes, in a name space of its own."""
    run = fold(20_000, records_max="50")
    small = tmp_path / "tables"
    small.mkdir()
    process = run.workers.start(
        before=("unshare", "-rm", "sh", "-c", f'mount -t tmpfs -o size=600k none {small} && exec "$@"', "sh"),
        **run.settings,
    )
    assert process.wait(60) == EXIT_FATAL
    assert b"No space left on device" in run.workers.log()
    assert 0 < run.done() < run.count
    process = run.start()
    until(run.finished, 60)
    end(process)
    run.check()


def test_a_second_process_on_the_same_directory_ends_with_the_reason(fold: Any, until: Any) -> None:
    run = fold(100)
    process = run.start()
    until(run.finished)
    other = run.start(app=run.broker.name("other"))
    assert other.wait(60) == EXIT_FATAL
    assert b"held by another process" in run.workers.log()
    end(process)
    run.check()
