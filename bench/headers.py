"""Headers: what each header of a message costs, in bytes on the wire and in microseconds of a worker, written and read.

    python -m bench.headers [--records N]

A header costs twice: in librdkafka and the binding, which is nearly the same for each and measured on a broker as the
difference between records with all headers and with none; and in our own code, measured header by header: text to bytes,
and back to what the envelope holds. What is sent in one batch has one moment, so `ce_time` is written once a batch and
not once a record: its line shows the first. CPU time of one core, medians of three rounds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from bench.reservations.topics import make
from bench.servers import kafka
from schemas.codec import AvroCodec
from schemas.envelope import Envelope, Message, derive_id, from_rfc3339, now, to_rfc3339
from schemas.messages import StockReserved, wire_type
from schemas.records import decode_record, encode_record

ROUNDS, CALLS, READ_AT_ONCE = 3, 20_000, 10_000
# Lengths of name and value as varints.
LENGTHS_BYTES = 2


def event() -> Message:
    """An event as the worker sends it, all headers there."""
    cause, order_id = derive_id("cause"), "7f0a5c1e-0000-4000-8000-000000000001"
    body = StockReserved(order_id, 3, 12, 480, 36)
    type_, trace = wire_type(StockReserved), f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-01"
    envelope = Envelope(
        derive_id("id"), type_, "/tally/inventory", "inventory", "85123A", 7, now(), derive_id("saga"), cause, trace
    )
    return Message(envelope, body)


def micros(work: Callable[[], Any], calls: int = CALLS) -> float:
    """CPU microseconds of one call, median of the rounds."""
    found = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(calls):
            work()
        found.append((time.process_time() - began) / calls * 1e6)
    return statistics.median(found)


def carried(bootstrap: str, headers: list[tuple[str, bytes]], value: bytes, count: int) -> tuple[float, float]:
    """Microseconds a record to hand `count` of them to librdkafka, and to read their headers."""
    topic = f"headers-{uuid.uuid4().hex[:8]}"
    make(bootstrap, topic)
    producer = Producer({"bootstrap.servers": bootstrap, "queue.buffering.max.messages": count + 1, "linger.ms": 50})
    began = time.thread_time()
    for _ in range(count):
        producer.produce(topic, value, b"85123A", 0, headers=headers)
    produced = time.thread_time() - began
    producer.flush()
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": topic, "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 0)])
    read, seen = 0.0, 0
    while seen < count:
        messages = consumer.consume(READ_AT_ONCE, 1.0)
        began = time.thread_time()
        for message in messages:
            message.headers()
        read += time.thread_time() - began
        seen += len(messages)
    consumer.close()
    return produced / count * 1e6, read / count * 1e6


def ours(name: str, value: bytes) -> tuple[float, float]:
    """Microseconds of our own code to write and to read one header, beyond an empty call."""
    text, moment, found = value.decode(), now(), dict[str, Any]()
    write: Callable[[], Any] = text.encode
    read: Callable[[], Any] = value.decode
    if name == "ce_time":
        write, read = lambda: to_rfc3339(moment).encode(), lambda: from_rfc3339(value.decode())
    elif name == "aggregateversion":
        write, read = lambda: str(7).encode(), lambda: int(value.decode())

    def keep() -> None:
        found[name] = read()

    return micros(write), micros(keep)


def main(argv: list[str]) -> int:
    """Prints a line a header, then whole records."""
    parser = argparse.ArgumentParser(prog="python -m bench.headers")
    parser.add_argument("--records", type=int, default=200_000, help="carried over the broker")
    given = parser.parse_args(argv)
    message, codec = event(), AvroCodec()
    _, value, headers = encode_record(message, codec)
    with kafka() as bootstrap:
        bare = carried(bootstrap, [], value, given.records)
        full = carried(bootstrap, headers, value, given.records)
    each = [(after - before) / len(headers) for before, after in zip(bare, full, strict=True)]
    print(
        f"{'header':20} {'bytes':>6} {'written, us':>12} {'read, us':>9}   (librdkafka: {each[0]:.2f} and {each[1]:.2f} of it)"
    )
    for name, text in headers:
        write, read = ours(name, text)
        size = len(name) + len(text) + LENGTHS_BYTES
        print(f"{name:20} {size:6} {write + each[0]:12.2f} {read + each[1]:9.2f}")
    total = sum(len(name) + len(text) + LENGTHS_BYTES for name, text in headers)
    print(f"{'all':20} {total:6}   of a record whose value has {len(value)} bytes")
    encode, decode = micros(lambda: encode_record(message, codec)), micros(lambda: decode_record(headers, value, codec))
    body = micros(lambda: codec.encode(message.body)), micros(lambda: codec.decode(value))
    print(
        f"whole record: {encode:.1f} us to encode ({body[0]:.1f} the body), {decode:.1f} us to decode ({body[1]:.1f} the body)"
    )
    print(
        f"handed to librdkafka: {full[0]:.1f} us with all headers, {bare[0]:.1f} with none; read: {full[1]:.1f}, {bare[1]:.1f}"
    )
    print(
        f"the id of what follows (UUID 5 of its cause): {micros(lambda: derive_id(message.envelope.id, 'event')):.1f} us"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
