"""Dead letters of real workers: what waits survives kill -9 and a new version, and is redriven in order by it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from schemas.codec import AvroCodec
from schemas.envelope import Envelope, Message, new_id, now
from schemas.messages import ActOnDeadLetters, OrderCancelled, ReceiveStock, wire_type
from schemas.partitioning import partition_of
from schemas.records import encode_record
from schemas.topics import AUDIT_TRAIL, DEAD_LETTERS, DEAD_LETTERS_COMMANDS, PARTITIONS, SAGAS_EVENTS, SAGAS_REPLIES

BLIND = Path(__file__).parent / "blind_worker.py"


def act(bootstrap: str, body: ActOnDeadLetters) -> None:
    """To every partition, as `tally dead-letters` sends it."""
    id_ = new_id()
    envelope = Envelope(id_, wire_type(ActOnDeadLetters), "/tally/cli", "dead-letters", "all", None, now(), id_, id_)
    key, value, headers = encode_record(Message(envelope, body), AvroCodec())
    producer = Producer({"bootstrap.servers": bootstrap})
    for partition in range(PARTITIONS):
        producer.produce(DEAD_LETTERS_COMMANDS, value, key, partition, headers=headers)
    assert producer.flush(10) == 0


def test_what_waits_survives_a_kill_and_is_drained_in_order_by_the_version_that_can_read_it(
    log: Any, services: Any, until: Callable[..., Any], start_worker: Any
) -> None:
    unique = uuid.uuid4().hex[:8]
    blocked, other, sku = f"blocked-{unique}", f"other-{unique}", f"sku-{unique}"
    blind = start_worker(0, BLIND).wait_alone()
    log.command(ReceiveStock(10), sku)
    services.place(blocked, [(sku, 2)], "unreadable")
    services.append(blocked, OrderCancelled("changed my mind"), "CANCELLED")
    services.place(other, [(sku, 3)])
    until(lambda: (blind.row("orders", other) or {}).get("status") == "CONFIRMED", "another key goes on")
    assert blind.row("orders", blocked) is None
    blind.kill()
    # Killed and started again, it still knows what waits, and nothing has gone by it.
    blind = start_worker(0, BLIND).wait_alone()
    act(log.bootstrap, ActOnDeadLetters("REDRIVE", "tests", "too early", key=blocked))

    def tried() -> bool:
        bodies = [message.body for _, message in log.read(AUDIT_TRAIL)]
        # Two readers of orders.events, two records each: created and cancelled.
        return any(body.reason == "too early" and (body.done, body.left) == (0, 4) for body in bodies)

    until(tried, "the redrive that comes too early is answered")
    blind.kill()
    mended = start_worker(0).wait_alone()
    act(log.bootstrap, ActOnDeadLetters("REDRIVE", "tests", "the fix is deployed", key=blocked))
    until(lambda: (mended.row("orders", blocked) or {}).get("status") == "CANCELLED", "both events are folded")
    until(lambda: mended.get(f"/sagas/{blocked}").status_code == 200, "its saga began")
    until(lambda: mended.get(f"/sagas/{blocked}").json()["state"] == "CANCELLED", "its saga ends")
    events = [message.body for _, message in log.read(SAGAS_EVENTS) if message.envelope.subject == blocked]
    assert [type(event).__name__ for event in events].count("SagaEnded") == 1
    left = _letters(log, blocked)
    assert left == {}, left


def test_a_poisoned_answer_parks_its_saga_until_it_is_discarded(
    log: Any, services: Any, until: Callable[..., Any], start_worker: Any
) -> None:
    unique = uuid.uuid4().hex[:8]
    parked, other, sku = f"parked-{unique}", f"other-{unique}", f"sku-{unique}"
    worker = start_worker(0).wait_alone()
    log.command(ReceiveStock(10), sku)
    services.silent.add(parked)
    services.place(parked, [(sku, 2)])
    until(lambda: worker.get(f"/sagas/{parked}").status_code == 200, "its saga begins")
    log.send_raw(SAGAS_REPLIES, parked.encode(), b"poison", [])
    saga = until(lambda: _saga(worker, parked, "PARKED"), "the saga is parked")
    assert "Undecodable" in saga["reason"]
    services.append(parked, OrderCancelled("changed my mind"), "CANCELLED")
    services.place(other, [(sku, 3)])
    until(lambda: _saga(worker, other, "CONFIRMED"), "another saga goes on")
    assert [item["order_id"] for item in worker.get("/sagas", state="parked").json()["items"]] == [parked]
    assert "tally_worker_lanes 1.0" in worker.get("/metrics").text
    services.silent.discard(parked)
    act(log.bootstrap, ActOnDeadLetters("DISCARD", "tests", "nothing of ours", letter=saga["parked_by"]))
    until(lambda: _saga(worker, parked, "CANCELLED"), "what waited behind it was heard")
    assert "tally_worker_lanes 0.0" in worker.get("/metrics").text


@pytest.mark.slow
def test_what_waits_goes_with_its_partition_to_another_worker(
    log: Any, services: Any, until: Callable[..., Any], start_worker: Any
) -> None:
    unique, orders = uuid.uuid4().hex[:8], dict[int, str]()
    while len(orders) < PARTITIONS:
        order_id = f"moved-{unique}-{uuid.uuid4().hex[:4]}"
        orders[partition_of(order_id.encode(), PARTITIONS)] = order_id
    first = start_worker(0).wait_alone()
    log.command(ReceiveStock(10), f"sku-{unique}")
    for order_id in orders.values():
        services.silent.add(order_id)
        services.place(order_id, [(f"sku-{unique}", 1)])
    for order_id in orders.values():
        until(partial(_saga, first, order_id, "RUNNING"), "the saga begins")
        log.send_raw(SAGAS_REPLIES, order_id.encode(), b"poison", [])
    parked = {order_id: until(partial(_saga, first, order_id, "PARKED"), "parked") for order_id in orders.values()}
    second = start_worker(1)
    workers = [first, second.wait_ready()]
    until(lambda: 0 < _lanes(second) < PARTITIONS and _lanes(first) + _lanes(second) == PARTITIONS, "lanes have moved")
    for order_id in orders.values():
        services.append(order_id, OrderCancelled("changed my mind"), "CANCELLED")
        services.silent.discard(order_id)
        act(log.bootstrap, ActOnDeadLetters("DISCARD", "tests", "not ours", letter=parked[order_id]["parked_by"]))
    for order_id in orders.values():
        until(partial(_ends, workers, order_id), "what waited was heard")
    assert _lanes(first) + _lanes(second) == 0


def _ends(workers: list[Any], order_id: str) -> bool:
    return any(_saga(worker, order_id, "CANCELLED") for worker in workers)


def _lanes(worker: Any) -> float:
    lines = worker.get("/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("tally_worker_lanes "))


def _saga(worker: Any, order_id: str, state: str) -> Any:
    answer = worker.get(f"/sagas/{order_id}")
    found = answer.json() if answer.status_code == 200 else {"state": None}
    return found if found["state"] == state else None


def _letters(log: Any, key: str) -> dict[str, Any]:
    last: dict[str, Any] = {}
    for record_key, value in log.read_raw(DEAD_LETTERS):
        last[record_key] = value
    found = {id_: AvroCodec().decode(value) for id_, value in last.items() if value is not None}
    return {id_: letter for id_, letter in found.items() if letter.key == key.encode()}
