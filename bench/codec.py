"""Codec: bodies a second by our codec against fastavro alone on the same schema (medians of three, one core)."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
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
    codec = AvroCodec()
    parsed = {entry.class_name: fastavro.parse_schema(entry.schema) for entry in load()}
    print(f"{'message':24} {'':8} {'ours/s':>10} {'fastavro/s':>11} {'ratio':>6}")
    for name, body in SAMPLES.items():
        schema, payload = parsed[type(body).__name__], codec.encode(body)
        wire = fastavro.schemaless_reader(BytesIO(payload[5:]), schema, None)
        pairs: list[tuple[str, Callable[[], Any], Callable[[], Any]]] = [
            (
                "encode",
                lambda b=body: codec.encode(b),
                lambda s=schema, w=wire: fastavro.schemaless_writer(BytesIO(), s, w),
            ),  # type: ignore[misc]
            (
                "decode",
                lambda p=payload: codec.decode(p),
                lambda s=schema, p=payload: fastavro.schemaless_reader(BytesIO(p[5:]), s, None),
            ),  # type: ignore[misc]
        ]
        for direction, ours, peer in pairs:
            mine, theirs = rate(ours), rate(peer)
            print(f"{name:24} {direction:8} {mine:10,.0f} {theirs:11,.0f} {mine / theirs:6.2f}")
    return 0
