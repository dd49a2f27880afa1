"""Latency at a steady rate: from the producer's call to the outcome in the hands of a read_committed reader."""

from __future__ import annotations

import threading
import time
from array import array
from dataclasses import dataclass

from confluent_kafka import Consumer, Producer, TopicPartition

from bench.reservations.measure import Running, cpu_s
from bench.reservations.work import FORMS, PARTITIONS

PER_SECOND = 1000
WARM_UP_S = 10.0
ASSIGNED_WITHIN_S = 60.0
SETTLE_S = 5.0
SKUS = 1000


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds; CPU seconds of the measured window."""

    p50: float
    p90: float
    p99: float
    p999: float
    worst: float
    unanswered: int
    cpu_s: float
    broker_cpu_s: float


class Reader(threading.Thread):
    """Notes when each outcome is there; clocks of both ends are one process's."""

    def __init__(self, bootstrap: str, target: str, form: str, count: int) -> None:
        super().__init__(daemon=True)
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "latency",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 500,
                "fetch.queue.backoff.ms": 1,
            }
        )
        self._consumer.assign([TopicPartition(target, number, 0) for number in range(PARTITIONS)])
        self._read = FORMS[form].read_outcome
        self.seen_at = array("d", bytes(8 * count))
        self.first = threading.Event()
        self.ending = threading.Event()

    def run(self) -> None:
        while not self.ending.is_set():
            message = self._consumer.poll(0.2)
            if message is None or message.error():
                continue
            self.seen_at[self._read(message.value())["id"]] = time.monotonic()
            self.first.set()
        self._consumer.close()


def latency(
    running: Running, bootstrap: str, source: str, target: str, form: str, seconds: float, broker_pid: int | None
) -> Latency:
    """Send `PER_SECOND` commands a second, one at a time, and look at those sent in the last `seconds`."""
    total = int(PER_SECOND * (WARM_UP_S + seconds))
    skip = int(PER_SECOND * WARM_UP_S)
    reader = Reader(bootstrap, target, form, total)
    reader.start()
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "linger.ms": 0})
    write = FORMS[form].write_command
    sent_at = array("d", bytes(8 * total))

    def send(number: int) -> None:
        sku = f"sku-{number * 7919 % SKUS}"
        command = {"type": "reserve", "order": f"order-{number}", "sku": sku, "quantity": 1, "id": number}
        sent_at[number] = time.monotonic()
        producer.produce(source, write(command), sku.encode())
        producer.poll(0)

    send(0)
    if not reader.first.wait(ASSIGNED_WITHIN_S):
        raise RuntimeError("no outcome came")
    began = time.monotonic()
    before = (0.0, 0.0)
    for number in range(1, total):
        time.sleep(max(began + number / PER_SECOND - time.monotonic(), 0))
        if number == skip:
            before = running.cpu_s(), cpu_s(broker_pid) if broker_pid else 0.0
        send(number)
    used = running.cpu_s() - before[0], (cpu_s(broker_pid) if broker_pid else 0.0) - before[1]
    producer.flush()
    give_up = time.monotonic() + SETTLE_S
    while time.monotonic() < give_up and not all(reader.seen_at):
        time.sleep(0.1)
    reader.ending.set()
    reader.join()
    took = sorted((reader.seen_at[n] - sent_at[n]) * 1e3 for n in range(skip, total) if reader.seen_at[n])
    if not took:
        raise RuntimeError("no outcome came in the measured time")
    p50, p90, p99, p999 = (took[int(len(took) * share)] for share in (0.5, 0.9, 0.99, 0.999))
    return Latency(p50, p90, p99, p999, took[-1], total - skip - len(took), *used)
