"""The event store over a running system: what every writer wrote, from Kafka by the workers' index; and fsck of it."""

from __future__ import annotations

import io
import json
import uuid
from typing import Any

import fastavro
from running_system import Running, order, wait_for

from schemas.messages import WalletCredited
from schemas.registry import Registry
from tally.event_store import EventStore
from tally.reading.reader import Reader, whole
from tally.reading.workers_index import WorkersIndex
from tally.settings import Settings

# Enough for the first ones to be indexed while the last ones are written.
EVENTS = 40


def settings(running: Running) -> Settings:
    found = running.endpoints
    databases = {f"{service}_database_url": found[f"{service}_database"] for service in ("orders", "payments")}
    return Settings(kafka_bootstrap=found["kafka"], **databases)


def types(events: list[dict[str, Any]]) -> list[str]:
    assert [event["version"] for event in events] == list(range(1, len(events) + 1))
    return [event["type"] for event in events]


def test_orders_stock_and_sagas_are_read_by_aggregate_and_as_a_whole_and_fsck_compares_the_index(
    running: Running,
) -> None:
    sku = f"es-{uuid.uuid4().hex[:6]}"
    running.receive(sku, 5)
    with running.client() as client:
        body = order((sku, 2))
        order_id = client.post("/orders", json=body, headers={"Idempotency-Key": uuid.uuid4().hex}).json()["order_id"]
        running.wait_status(order_id, "CONFIRMED")
        given = settings(running)
        with EventStore.of("orders", given) as orders:
            assert types(orders.read(order_id)) == ["ORDER_CREATED", "ORDER_CONFIRMED"]
            assert order_id in {event["aggregateId"] for event in orders.read_all()}
        with EventStore.of("inventory", given) as stock:
            wait_for(lambda: types(stock.read(sku)) == ["STOCK_RECEIVED", "STOCK_RESERVED"], 30, "the history of a SKU")
        with EventStore.of("sagas", given) as sagas:
            wait_for(lambda: "SAGA_ENDED" in types(sagas.read(order_id)), 30, "the end of the saga")
            told = client.get(f"/sagas/{order_id}/events", headers={"Prefer": "wait=10"}).json()
            assert told == sagas.read(order_id)
    report = json.loads(running.tally("fsck", "-f", "json"))
    assert report["ok"], report["findings"]
    assert report["figures"]["indexed"] > 0


def test_over_a_seam_that_moves_each_read_ends_with_what_was_written_last(running: Running) -> None:
    customer, given = f"seam-{uuid.uuid4().hex[:6]}", settings(running)
    with EventStore.of("wallets", given) as wallets:
        for version in range(1, EVENTS + 1):
            credited = WalletCredited(customer, 100, "GBP", 100 * version)
            wallets.append(customer, [credited], expected_version=version - 1)
            assert len(types(wallets.read(customer))) == version
        index = WorkersIndex(given.kafka_bootstrap)
        wait_for(lambda: len(index.rows("wallets", customer, 1, EVENTS)) == EVENTS, 30, "all of it in the index")
        index.close()
        assert len(types(wallets.read(customer))) == EVENTS


def test_a_client_that_knows_nothing_of_us_decodes_our_topics_by_the_schemas_that_the_api_tells(
    running: Running,
) -> None:
    url = f"{running.endpoints['api']}/schema-registry"
    sku = f"foreign-{uuid.uuid4().hex[:6]}"
    running.receive(sku, 7)
    with Reader(running.endpoints["kafka"]) as reader, Registry(url) as registry:
        records = (record for record in reader.read(*whole(reader, ("inventory.events",))) if record is not None)
        value = next(record.value for record in records if record.key == sku.encode()) or b""
        schema = registry.schema_of(int.from_bytes(value[1:5], "big"))
    assert schema is not None
    received: Any = fastavro.schemaless_reader(io.BytesIO(value[5:]), schema, None)
    assert (received["quantity"], received["on_hand"]) == (7, 7)
    # Another registry would be told what lacks there.
    running.tally("schemas", "diff", "--registry", url)
