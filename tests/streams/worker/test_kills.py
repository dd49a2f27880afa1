"""Workers that are killed in the middle of their work: every message counts once, and every table equals its rebuild."""

from __future__ import annotations

import random
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from schemas.envelope import Message
from schemas.messages import ReceiveStock
from schemas.topics import (
    INVENTORY_COMMANDS,
    INVENTORY_EVENTS,
    ORDERS_BY_CUSTOMER_REKEY,
    ORDERS_COMMANDS,
    ORDERS_EVENTS,
    PARTITIONS,
    PAYMENTS_COMMANDS,
    SAGAS_EVENTS,
    SAGAS_REPLIES,
    TABLES,
)
from streams.replay.folding import Folded, replay

OURS = (INVENTORY_EVENTS, SAGAS_EVENTS, INVENTORY_COMMANDS, ORDERS_COMMANDS, PAYMENTS_COMMANDS)
FOLDED = (INVENTORY_EVENTS, ORDERS_EVENTS, SAGAS_EVENTS, ORDERS_BY_CUSTOMER_REKEY)
ENDED = {"CONFIRMED", "REJECTED"}


def _mine(messages: list[tuple[str, Message]], unique: str) -> list[tuple[str, Message]]:
    """Messages of this test alone; its SKUs, orders and customers carry its name."""
    return [(topic, message) for topic, message in messages if unique in message.envelope.subject]


def _check_each_message_is_there_once(messages: list[tuple[str, Message]]) -> None:
    # A retriable command may be sent again under its id; an event never.
    ids = Counter((topic, message.envelope.id) for topic, message in messages if topic.endswith("events"))
    assert [place for place, count in ids.items() if count > 1] == []
    versions: dict[tuple[str, str], list[int]] = defaultdict(list)
    for topic, message in messages:
        if topic.endswith(".events"):
            versions[topic, message.envelope.subject].append(message.envelope.version or 0)
    for place, seen in versions.items():
        assert seen == list(range(1, len(seen) + 1)), f"{place} has versions {seen}"


def _check_every_command_was_answered_once(messages: list[tuple[str, Message]]) -> None:
    commands = {m.envelope.id for topic, m in messages if topic == INVENTORY_COMMANDS}
    causes = Counter(m.envelope.causation_id for topic, m in messages if topic == INVENTORY_EVENTS)
    assert set(causes) == commands
    assert set(causes.values()) == {1}
    answers = Counter(m.body.command_id for topic, m in messages if topic == SAGAS_REPLIES)
    assert set(answers.values()) == {1}


def _check_stock(folded: Folded) -> None:
    assert folded.faults == []
    held: dict[str, int] = defaultdict(int)
    for key, hold in folded.holds.items():
        sku, order_id, _ = key.split("\x1f")
        if hold["status"] == "HELD":
            held[sku] += hold["quantity"]
            assert folded.orders[order_id]["status"] == "CONFIRMED"
    for sku, level in folded.stock_levels.items():
        assert level["reserved"] == held[sku] <= level["on_hand"]


def _rows(workers: list[Any], table: str, unique: str) -> dict[str, Any]:
    rows = {}
    for worker in workers:
        cursor = ""
        while cursor is not None:
            page = worker.get(f"/tables/{table}", limit=1000, cursor=cursor).json()
            rows |= {item["key"]: item["value"] for item in page["items"] if unique in item["key"]}
            cursor = page["next"]
    return rows


def _check_tables(workers: list[Any], folded: Folded, unique: str) -> None:
    for table in ("stock_levels", "holds", "stock", "orders", "orders_by_customer", "order_sagas"):
        assert _rows(workers, table, unique) == getattr(folded, table), table


class Load:
    """Orders over a dozen SKUs that together do not have enough; `orders` of them in all."""

    def __init__(self, log: Any, unique: str, orders: int, rng: random.Random) -> None:
        self.unique, self.orders, self.rng = unique, orders, rng
        self.placed = 0
        self.skus = [f"sku-{unique}-{n}" for n in range(12)]
        for sku in self.skus:
            log.command(ReceiveStock(orders // 2), sku)
        log.flush()

    def place(self, services: Any, count: int) -> None:
        for number in range(self.placed, self.placed + count):
            lines = [(self.rng.choice(self.skus), self.rng.randint(1, 6)) for _ in range(self.rng.randint(1, 6))]
            order_id = f"order-{self.unique}-{number}"
            if number % 10 == 0:
                services.decline.add(order_id)
            services.place(order_id, lines, f"customer-{self.unique}-{number % 7}")
        self.placed += count
        services.log.flush()


def _all_ended(log: Any, unique: str, orders: int) -> Callable[[], bool]:
    def is_so() -> bool:
        sagas = replay(_mine(log.read(SAGAS_EVENTS), unique)).sagas
        return len(sagas) == orders and all(saga.outcome in ENDED for saga in sagas.values())

    return is_so


def _check_everything(log: Any, until: Callable[..., Any], workers: list[Any], load: Load) -> None:
    unique, orders = load.unique, load.orders
    until(_all_ended(log, unique, orders), "every order ends", 90)

    def listed() -> bool:
        rows = _rows(workers, "orders_by_customer", unique)
        return sum(row["version"] == 2 for row in rows.values()) == orders

    until(listed, "the read models are there")
    messages = _mine(log.read(*OURS, ORDERS_EVENTS, SAGAS_REPLIES, ORDERS_BY_CUSTOMER_REKEY), unique)
    _check_each_message_is_there_once(messages)
    _check_every_command_was_answered_once(messages)
    folded = replay((topic, message) for topic, message in messages if topic in FOLDED)
    assert len(folded.orders) == orders
    assert {row["status"] for row in folded.orders.values()} == ENDED
    _check_stock(folded)
    _check_tables(workers, folded, unique)


def _batches(worker: Any) -> float:
    """How many batches the worker has committed."""
    lines = worker.get("/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("tally_worker_batches_total "))


def _kill_in_the_middle(start_worker: Any, services: Any, until: Callable[..., Any], load: Load, kills: int) -> Any:
    """A round a kill: a worker takes over, new orders come, and some batches later it is dead."""
    for _ in range(kills):
        worker = start_worker().wait_alone()
        batches = _batches(worker) + load.rng.randint(1, 8)
        load.place(services, load.orders // kills)
        until(lambda worker=worker, batches=batches: _batches(worker) >= batches, "it is in the middle of its work", 30)
        worker.kill()
    return start_worker().wait_alone()


def _check_only_the_tail_was_read(worker: Any, log: Any) -> None:
    """Of the changelogs the last batches, not all: its tables lie on disk."""
    asker = Consumer({"bootstrap.servers": log.bootstrap, "group.id": "none"})
    places = [TopicPartition(f"tally-{table}-changelog", n) for table in TABLES for n in range(PARTITIONS)]
    written = sum(asker.get_watermark_offsets(place, timeout=30)[1] for place in places)
    asker.close()
    assert worker.get("/readyz").json()["to_restore"] < written / 2


def test_a_worker_killed_five_times_leaves_every_message_once_and_every_table_right(
    log: Any, services: Any, until: Callable[..., Any], start_worker: Any
) -> None:
    load = Load(log, uuid.uuid4().hex[:8], 300, random.Random(1))
    worker = _kill_in_the_middle(start_worker, services, until, load, 5)
    _check_only_the_tail_was_read(worker, log)
    _check_everything(log, until, [worker], load)


def test_two_workers_share_the_work_and_take_over_from_each_other(
    log: Any, services: Any, until: Callable[..., Any], start_worker: Any
) -> None:
    load = Load(log, uuid.uuid4().hex[:8], 150, random.Random(2))
    first, second = start_worker(0).wait_ready(), start_worker(1)

    def shared() -> bool:
        owned = [worker.get("/tables").json()[0]["partitions"] for worker in (first, second) if worker.is_up()]
        return len(owned) == 2 and all(owned) and sorted(owned[0] + owned[1]) == [0, 1, 2, 3]

    until(shared, "both own partitions", 30)
    load.place(services, load.orders)
    until(lambda: _rows([second], "orders", load.unique), "the second one works")
    elsewhere = next(iter(_rows([second], "orders", load.unique)))
    assert first.get(f"/tables/orders/{elsewhere}").status_code == 421
    second.kill()
    second = start_worker(1).wait_ready()
    until(shared, "both own partitions again", 30)
    _check_everything(log, until, [first, second], load)


# Forty starts, each of seconds on a machine that does other work too.
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_worker_killed_forty_times(log: Any, services: Any, until: Callable[..., Any], start_worker: Any) -> None:
    load = Load(log, uuid.uuid4().hex[:8], 4000, random.Random(3))
    worker = _kill_in_the_middle(start_worker, services, until, load, 40)
    _check_everything(log, until, [worker], load)
