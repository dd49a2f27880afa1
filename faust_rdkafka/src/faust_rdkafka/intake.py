"""What the fetch thread has read and the event loop has not taken yet: bounded, and of one assignment only."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque

from confluent_kafka import KafkaError, Message
from faust.types import TP

from .gathered import Gathered, Run, size_of
from .options import Options

log = logging.getLogger(__name__)


class Intake:
    """`take`, `drop_until_rebalance` and `epoch` are for the event loop, the rest is called in the fetch thread."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._linger_s = options.batch_linger_ms / 1000
        self._lock = threading.Lock()
        self._taken = threading.Event()
        self._gathered = Gathered()
        self._carry: deque[Message] = deque()  # what did not fit into the batch
        self.hungry = False  # the event loop waits for records
        self.dropping = False
        self.epoch = 0  # counts assignments and revocations: what was read before a change is never used after it

    # -- event loop

    def take(self) -> Gathered | None:
        """What is there; None when nothing is, and then `is_awaited` says so as soon as there is."""
        with self._lock:
            if self._ready():
                gathered, self._gathered = self._gathered, Gathered()
                self.hungry = False
                self._taken.set()
                return gathered
            self.hungry = True
            return None

    def drop_until_rebalance(self) -> None:
        """The group moved on without us: what is read is thrown away from now on."""
        with self._lock:
            self.dropping = True
            self._clear()
        self._taken.set()

    # -- fetch thread

    def new_epoch(self) -> None:
        with self._lock:
            self.epoch += 1
            self._clear()
            self.dropping = False

    def clear(self) -> None:
        with self._lock:
            self._clear()

    def room(self) -> int:
        """How many records it takes, once what did not fit into the last batch was moved into this one."""
        with self._lock:
            carried, self._carry = self._carry, deque()
            while carried:
                if self._carry:
                    self._carry.extend(carried)
                    break
                self._add(carried.popleft())
            if self._carry or self._gathered.size_bytes >= self._options.batch_bytes_max:
                return 0
            return self._options.batch_records_max - self._gathered.count

    def wait_for_room(self, timeout_s: float) -> None:
        """Until something was taken, or `let_go` is called."""
        self._taken.wait(timeout_s)
        self._taken.clear()

    def let_go(self) -> None:
        self._taken.set()

    def keep(self, runs: list[tuple[Run, int]], others: list[Message], messages: list[Message]) -> None:
        """Take one read: `runs` with their bytes, and `others` that are no records; both are what `messages` holds."""
        with self._lock:
            fits = self._gathered.size_bytes + sum(size for _, size in runs) <= self._options.batch_bytes_max
            if fits and not self._carry:
                for run, size_bytes in runs:
                    self._gathered.add(run, size_bytes)
                for message in others:
                    self._note(message)
            else:
                for message in messages:
                    self._add(message)

    def is_awaited(self) -> bool:
        """Whether the event loop waits for what is there; said once."""
        with self._lock:
            if not (self.hungry and self._ready()):
                return False
            self.hungry = False
            return True

    def lingers_s(self) -> float | None:
        """How long the batch that the event loop waits for still waits for more; None when there is none."""
        with self._lock:
            if self.hungry and self._gathered.count:
                return max(self._gathered.since + self._linger_s - time.monotonic(), 0)
            return None

    # -- under the lock

    def _add(self, message: Message) -> None:
        if message.error() is not None:
            self._note(message)
            return
        gathered, options, size_bytes = self._gathered, self._options, size_of([message])
        full = gathered.count >= options.batch_records_max or (
            gathered.count and gathered.size_bytes + size_bytes > options.batch_bytes_max
        )
        if self._carry or full:
            self._carry.append(message)
        else:
            gathered.add(Run(TP(message.topic(), message.partition()), [message], None), size_bytes)

    def _note(self, message: Message) -> None:
        error = message.error()
        if error.code() == KafkaError._PARTITION_EOF:
            # After all its records: those in `_carry` come later, so this end is not yet reached.
            if not self._carry:
                self._gathered.ends[TP(message.topic(), message.partition())] = message.offset()
        else:
            log.warning("consumer: %s", error)

    def _ready(self) -> bool:
        gathered = self._gathered
        if not gathered.count:
            return bool(gathered.ends)
        if not self._linger_s or self._carry or gathered.count >= self._options.batch_records_max:
            return True
        return time.monotonic() - gathered.since >= self._linger_s

    def _clear(self) -> None:
        self._gathered = Gathered()
        self._carry.clear()
