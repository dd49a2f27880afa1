"""The way of one row within the connector, without servers: `python -m bench.outbox.rows [--rows N]`.

Microseconds of CPU a row for reading it, for routing it too, and for handing it to a producer that has no broker too; the
best of some runs, as anything else that runs here only adds. A change of the hot path shows here first.
"""

from __future__ import annotations

import argparse
import struct
import sys
import time
import uuid
from collections.abc import Callable, Sequence

from confluent_kafka import Producer

from connectors.outbox import DebeziumPlacement, Routing
from connectors.outbox.config import Form
from connectors.outbox.pgoutput import MESSAGE_AT, Column, Relation, read_insert
from connectors.outbox.plans import Parts
from connectors.outbox.routing import Route
from connectors.outbox.rows import ReadRow, row_head, row_reader

RUNS = 5
PAYLOAD_BYTES = 240
AGGREGATES = 1_000
UUID, TEXT, BYTEA, TIMESTAMPTZ = 2950, 25, 17, 1184
COLUMNS = (
    Column("id", UUID),
    Column("aggregatetype", TEXT),
    Column("aggregateid", TEXT),
    Column("type", TEXT),
    Column("payload", BYTEA),
    Column("created_at", TIMESTAMPTZ),
)
# Only routed columns leave the server.
DEFAULT_COLUMNS = tuple(column for column in COLUMNS if column.name not in ("type", "created_at"))
WITH_MORE = Routing(
    timestamp_field="created_at",
    placements=DebeziumPlacement.parse_list("type:header,created_at:header"),
    null_headers=False,
)
AS_JSON = Routing(key_form=Form("json"), value_form=Form("json", schemas=True))
CASES = {
    "default options": (Routing(), DEFAULT_COLUMNS),
    "timestamp and two more headers": (WITH_MORE, COLUMNS),
    "JSON with schemas": (AS_JSON, DEFAULT_COLUMNS),
}


def frames(relation: Relation, rows: int) -> list[bytes]:
    """Inserts as the server sends them."""
    payload = b"\\x" + (b"." * PAYLOAD_BYTES).hex().encode()
    made = []
    for number in range(rows):
        row = {
            "id": str(uuid.UUID(int=number)).encode(),
            "aggregatetype": b"order",
            "payload": payload,
            "type": b"MADE",
        }
        row |= {"aggregateid": b"k%d" % (number % AGGREGATES), "created_at": b"2026-01-02 03:04:05.678901+00"}
        values = [row[column.name] for column in relation.columns]
        parts = [b"t" + struct.pack(">I", len(value)) + value for value in values]
        made.append(b"w" * MESSAGE_AT + row_head(relation) + b"".join(parts))
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Prints one line a case."""
    parser = argparse.ArgumentParser(prog="bench outbox rows", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    rows = parser.parse_args(argv).rows
    print(f"{'CPU us a row':32} {'by the loop':>12} {'read':>6} {'routed':>7} {'produced':>9}")
    for name, (rules, columns) in CASES.items():
        relation = Relation(16_400, "public", "outbox", columns)
        stages = _stages(frames(relation, rows), Route(rules, columns), row_reader(len(columns)))
        loop, reading, routed, produced = (_best_us(stage) / rows for stage in stages)
        print(f"{name:32} {loop:12.2f} {reading:6.2f} {routed:7.2f} {produced:9.2f}", flush=True)
    return 0


def _stages(given: Sequence[bytes], route: Route, read: ReadRow) -> list[Callable[[], None]]:
    parts = route.parts_of_frame()
    return [
        lambda: _each(given, lambda frame: read_insert(frame, MESSAGE_AT)),
        lambda: _each(given, read),
        lambda: _each(given, parts),
        lambda: _produce(given, parts),
    ]


def _each(given: Sequence[bytes], work: Callable[[bytes], object]) -> None:
    for frame in given:
        work(frame)


def _produce(given: Sequence[bytes], parts: Callable[[bytes], Parts]) -> None:
    producer = Producer({"bootstrap.servers": "127.0.0.1:1", "log_level": 0})
    produce = producer.produce
    for frame in given:
        topic, key, value, headers, timestamp_ms, partition = parts(frame)
        produce(topic, value, key, partition, timestamp=timestamp_ms, headers=headers)
    producer.purge()
    producer.poll(0)


def _best_us(stage: Callable[[], None]) -> float:
    took = []
    for _ in range(RUNS):
        began = time.process_time()
        stage()
        took.append(time.process_time() - began)
    return min(took) * 1e6


if __name__ == "__main__":
    sys.exit(main())
