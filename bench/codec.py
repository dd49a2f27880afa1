"""Codec: bodies a second by the generated codec against fastavro on the same schema (medians of three, one core).

Twice: against fastavro's dicts alone, and against fastavro with the same prefix, checks and classes around it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from io import BytesIO
from typing import Any

import fastavro

from schemas.catalogue import load
from schemas.codec import AvroCodec
from schemas.messages import OrderCreated, OrderLine, StockReserved

ROUNDS, COUNT = 3, 5_000
SAMPLES = {
    "StockReserved": StockReserved("7f0a5c1e-0000-4000-8000-000000000001", 3, 12, 480, 36),
    "OrderCreated, 10 lines": OrderCreated(
        "17850", "GBP", tuple(OrderLine(i, "85123A", 6, 255) for i in range(1, 11)), 15300, "card", "tok_ok"
    ),
}


def rate(work: Callable[[], Any]) -> float:
    """Calls a second, CPU time, median of the rounds."""
    rates = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        for _ in range(COUNT):
            work()
        rates.append(COUNT / (time.process_time() - begun))
    return statistics.median(rates)


def main(_: list[str]) -> int:
    """Prints a line a sample and direction."""
    codec, oracle = AvroCodec(), AvroCodec(generate=False)
    parsed = {entry.class_name: fastavro.parse_schema(entry.schema) for entry in load()}
    print(f"{'message':24} {'':8} {'ours/s':>10} {'fastavro/s':>11} {'ratio':>6} {'to classes/s':>13} {'ratio':>6}")
    for name, body in SAMPLES.items():
        schema, payload = parsed[type(body).__name__], codec.encode(body)
        wire = fastavro.schemaless_reader(BytesIO(payload[5:]), schema, None)
        rows = {
            "encode": (
                partial(codec.encode, body),
                partial(_write, schema, wire),
                partial(oracle.encode, body),
            ),
            "decode": (
                partial(codec.decode, payload),
                partial(_read, schema, payload),
                partial(oracle.decode, payload),
            ),
        }
        for direction, works in rows.items():
            mine, dicts, classes = (rate(work) for work in works)
            ratios = f"{dicts:11,.0f} {mine / dicts:6.2f} {classes:13,.0f} {mine / classes:6.2f}"
            print(f"{name:24} {direction:8} {mine:10,.0f} {ratios}")
    return 0


def _write(schema: Any, wire: Any) -> None:
    fastavro.schemaless_writer(BytesIO(), schema, wire)


def _read(schema: Any, payload: bytes) -> Any:
    return fastavro.schemaless_reader(BytesIO(payload[5:]), schema, None)
