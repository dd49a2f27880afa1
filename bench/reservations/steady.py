"""A steady rate for as long as one likes: does latency or memory creep? Minute by minute, and the end against the start."""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass

from confluent_kafka import Consumer, Producer, TopicPartition

from bench.reservations.histogram import Histogram, together
from bench.reservations.measure import Running, cpu_s, resident_mb
from bench.reservations.work import FORMS, PARTITIONS

MINUTE_S = 60.0
WARM_UP_MINUTES = 1
WINDOW_MINUTES = 10
TICK_S = 0.001  # so many records at once: those of a millisecond
ASSIGNED_WITHIN_S = 60.0
SETTLE_S = 5.0
SKUS = 1000
ON_THE_WAY_MAX = 1 << 20  # records between sending and seeing; more would be a worker that cannot keep up
GRAB = 1000
FULL_S = 0.1


@dataclass(frozen=True, slots=True)
class Minute:
    """Milliseconds of the records sent in it, resident megabytes at its end, per cent of a core."""

    took: Histogram
    worker_mb: float
    broker_mb: float
    worker_cpu: float
    broker_cpu: float


@dataclass(frozen=True, slots=True)
class Load:
    bootstrap: str
    source: str
    target: str
    form: str
    minutes: int
    rate: int  # records a second
    broker_pid: int | None


class Seen(threading.Thread):
    """Reads outcomes, read_committed, and gives each one's milliseconds to the minute in which it was sent."""

    def __init__(self, load: Load) -> None:
        super().__init__(daemon=True)
        self._consumer = Consumer(
            {
                "bootstrap.servers": load.bootstrap,
                "group.id": "steady",
                "enable.auto.commit": False,
                "fetch.queue.backoff.ms": 1,
            }
        )
        self._consumer.assign([TopicPartition(load.target, number, 0) for number in range(PARTITIONS)])
        self._read = FORMS[load.form].read_outcome
        self.sent_at = array("d", bytes(8 * ON_THE_WAY_MAX))  # by id, round and round
        self.minutes = [Histogram() for _ in range(load.minutes)]
        self.began = 0.0
        self.count = 0
        self.first = threading.Event()
        self.ending = threading.Event()

    def run(self) -> None:
        while not self.ending.is_set():
            messages = self._consumer.consume(GRAB, 0.2) if not self.first.is_set() else self._next()
            now = time.monotonic()
            for message in messages:
                if message.error() is None:
                    self._note(self._read(message.value())["id"], now)
        self._consumer.close()

    def _next(self) -> list[object]:
        """What is there, without waiting for more than the first."""
        message = self._consumer.poll(0.2)
        return [] if message is None else [message, *self._consumer.consume(GRAB, 0)]

    def _note(self, number: int, now: float) -> None:
        sent = self.sent_at[number % ON_THE_WAY_MAX]
        minute = int((sent - self.began) // MINUTE_S) if self.began else -1
        if 0 <= minute < len(self.minutes):
            self.minutes[minute].add((now - sent) * 1e3)
        self.count += 1
        self.first.set()


def steady(running: Running, load: Load, said: Callable[[int, Minute], None]) -> list[Minute]:
    """Send at the rate; `said` hears of each minute when it is over. RuntimeError when the worker cannot keep up."""
    seen = Seen(load)
    seen.start()
    producer = Producer({"bootstrap.servers": load.bootstrap, "partitioner": "murmur2_random", "linger.ms": 0})
    write = FORMS[load.form].write_command

    def send(number: int) -> None:
        sku = f"sku-{number * 7919 % SKUS}"
        command = {"type": "reserve", "order": f"order-{number}", "sku": sku, "quantity": 1, "id": number}
        body = write(command)
        while True:
            seen.sent_at[number % ON_THE_WAY_MAX] = time.monotonic()
            try:
                producer.produce(load.source, body, sku.encode())
                return
            except BufferError:
                # The broker is that far behind: the wait for room is the sender's and is not counted.
                producer.poll(FULL_S)

    send(0)
    producer.flush()
    if not seen.first.wait(ASSIGNED_WITHIN_S):
        raise RuntimeError("no outcome came")
    seen.began = time.monotonic()
    sent, found, used = 1, list[Minute](), _used(running, load)
    while len(found) < load.minutes:
        due = int((time.monotonic() - seen.began) * load.rate) + 1
        if due - seen.count > ON_THE_WAY_MAX // 2:
            raise RuntimeError(f"the worker is {due - seen.count} records behind")
        for number in range(sent, due):
            send(number)
        sent = max(sent, due)
        producer.poll(0)
        if time.monotonic() >= seen.began + MINUTE_S * (len(found) + 1):
            before, used = used, _used(running, load)
            shares = [(now - then) / MINUTE_S * 100 for now, then in zip(used, before, strict=True)]
            found.append(Minute(seen.minutes[len(found)], running.resident_mb(), _broker_mb(load), *shares))
            said(len(found), found[-1])
        time.sleep(TICK_S)
    producer.flush()
    give_up = time.monotonic() + SETTLE_S
    while time.monotonic() < give_up and seen.count < sent:
        time.sleep(0.1)
    seen.ending.set()
    seen.join()
    return found


def _used(running: Running, load: Load) -> tuple[float, float]:
    """CPU seconds of worker and broker so far."""
    return running.cpu_s(), cpu_s(load.broker_pid) if load.broker_pid else 0.0


def _broker_mb(load: Load) -> float:
    return resident_mb(load.broker_pid) if load.broker_pid else 0.0


@dataclass(frozen=True, slots=True)
class Creep:
    """The last minutes against the first after the warm-up."""

    minutes: int
    first_p99: float
    last_p99: float
    first_mb: float
    last_mb: float


def creep(found: list[Minute]) -> Creep | None:
    """None when there are too few minutes to compare."""
    warm = found[WARM_UP_MINUTES:]
    window = min(WINDOW_MINUTES, len(warm) // 2)
    if not window:
        return None
    first, last = warm[:window], warm[-window:]
    return Creep(window, _p99(first), _p99(last), _mean_mb(first), _mean_mb(last))


def _p99(minutes: list[Minute]) -> float:
    return together(minute.took for minute in minutes).share(0.99)


def _mean_mb(minutes: list[Minute]) -> float:
    return sum(minute.worker_mb for minute in minutes) / len(minutes)
