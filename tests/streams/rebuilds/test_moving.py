"""A build whose worker is killed, or shares its partitions with another one, goes on and folds each event once."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from schemas.messages import StockReceived
from schemas.partitioning import partition_of
from schemas.topics import INVENTORY_EVENTS, PARTITIONS
from streams.rebuilds.inputs import PIECE_BYTES_MAX


def test_a_build_goes_on_after_kill_9_and_folds_each_event_once(
    start: Callable[..., Any],
    verb: Callable[..., Any],
    log: Any,
    events: Any,
    until: Callable[..., Any],
    unique: str,
    row_of: Any,
) -> None:
    worker = start().wait_alone()
    for n in range(1, 101):
        for sku in range(100):
            events.receive(f"{unique}-{sku}", n)
    events.receive("bomb", 1)
    for n in range(101, 131):
        for sku in range(100):
            events.receive(f"{unique}-{sku}", n)
    log.flush()
    for sku in range(100):
        row_of(worker, "stock", f"{unique}-{sku}", 130)
    verb("build", "stock")
    worker.process.wait(60)
    worker = start()
    until(worker.is_up, "it answers again")
    answers = set()

    def is_in_step() -> bool:
        answers.add(worker.get(f"/tables/stock/{unique}-1").json().get("value", {}).get("on_hand", 130))
        rows = worker.get("/rebuilds").json().get("builds", [])
        return len(rows) == 4 and all(row["in_step"] for row in rows)

    until(is_in_step, "the build is in step")
    # Whoever asked meanwhile saw the served version.
    assert answers == {130}

    def totals() -> tuple[int, int]:
        rows = worker.get("/rebuilds").json()["builds"]
        return sum(row["events"] for row in rows), sum(row["faults"] for row in rows)

    # The sagas of earlier orders wrote a few events beside.
    written = sum(1 for _ in log.read(INVENTORY_EVENTS))
    assert written >= 13_001
    until(lambda: totals() == (written, 0), "each event was folded once")
    compared = verb("diff", "stock")
    assert sum(each["built"] for each in compared["partitions"]) >= 101
    verb("discard", "stock")


def test_two_workers_build_their_partitions_and_promote_together(
    start: Callable[..., Any],
    verb: Callable[..., Any],
    log: Any,
    events: Any,
    until: Callable[..., Any],
    unique: str,
    row_of: Any,
) -> None:
    first = start().wait_alone()
    for sku in range(40):
        events.receive(f"{unique}-{sku}", 1)
    log.flush()
    for sku in range(40):
        row_of(first, "stock", f"{unique}-{sku}", 1)
    version = verb("build", "stock", "--wait")["building"]
    second = start(1)

    def shared() -> bool:
        told = [worker.get("/rebuilds") for worker in (first, second) if worker.is_up()]
        rows = [row for each in told if each.status_code == 200 for row in each.json()["builds"]]
        return len(told) == 2 and len({row["worker"] for row in rows if row["in_step"]}) == 2 and len(rows) == 4

    until(shared, "both have partitions, all in step")
    for sku in range(40):
        events.receive(f"{unique}-{sku}", 2)
    log.flush()
    compared = verb("diff", "stock")
    assert {each["worker"] for each in compared["partitions"]} == {"worker-0", "worker-1"}
    verb("promote", "stock")
    assert {worker.get("/rebuilds").json()["served"]["stock"] for worker in (first, second)} == {version}


def test_a_build_whose_partitions_go_to_another_worker_in_its_middle_goes_on_there(
    start: Callable[..., Any],
    verb: Callable[..., Any],
    folder: Path,
    log: Any,
    events: Any,
    until: Callable[..., Any],
    unique: str,
    row_of: Any,
) -> None:
    first = start().wait_alone()
    # More bytes of each partition than a piece takes, then its gate, then more events of the same rows.
    skus: dict[int, list[str]] = {number: [] for number in range(PARTITIONS)}
    for n in range(400):
        skus[partition_of(f"{unique}-{n}".encode(), PARTITIONS)].append(f"{unique}-{n}")
    large = "x" * (PIECE_BYTES_MAX // 32)
    for sku in itertools.chain(*(of[:40] for of in skus.values())):
        events.append(INVENTORY_EVENTS, sku, StockReceived(1, large, 1, 0))
    gates = {partition_of(f"gate-{unique}-{n}".encode(), PARTITIONS): f"gate-{unique}-{n}" for n in range(40)}
    assert len(gates) == PARTITIONS
    for sku in gates.values():
        events.receive(sku, 1)
    for sku in itertools.chain(*skus.values()):
        events.receive(sku, 2)
    log.flush()
    for of in skus.values():
        row_of(first, "stock", of[-1], 1)
        row_of(first, "stock", of[0], 2)
    os.mkfifo(folder / "gate")
    verb("build", "stock")

    def begun(worker: Any, partitions: int) -> bool:
        rows = worker.get("/rebuilds").json().get("builds", []) if worker.is_up() else []
        assert not any(row["in_step"] for row in rows)
        return len(rows) == partitions and all(0 < row["next_offset"] < row["live_offset"] for row in rows)

    until(lambda: begun(first, 4), "a part of each partition is committed")
    second = start(1)
    until(lambda: begun(first, 2) and begun(second, 2), "the second worker has two of them in mid-build")
    first.kill()
    until(lambda: begun(second, 4), "the second worker has all of them in mid-build")
    with (folder / "gate").open("wb"):
        until(lambda: all(row["in_step"] for row in second.get("/rebuilds").json()["builds"]), "all are in step")
    (folder / "gate").unlink()
    rows = second.get("/rebuilds").json()["builds"]
    written = sum(1 for _ in log.read(INVENTORY_EVENTS))
    assert (len(rows), sum(row["events"] for row in rows), sum(row["faults"] for row in rows)) == (4, written, 0)
    # Fails where a row differs.
    compared = verb("diff", "stock")
    assert sum(each["built"] for each in compared["partitions"]) == sum(
        each["served"] for each in compared["partitions"]
    )
    verb("discard", "stock")
