"""A broker that can write no more, or that answers nobody for longer than a batch may last: nothing is lost or doubled."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from connectors.outbox import Cleaning
from connectors.outbox.errors import Fenced
from tally.local.kafka import Kafka

LARGEST_FILE_BYTES = 300_000
TRANSACTION_TIMEOUT_MS = 4_000


def numbers(outbox: Any) -> list[int]:
    return sorted(int(record.value()) for record in outbox.read(outbox.topic("t")))


def insert_large(outbox: Any, first: int, last: int) -> None:
    """Rows of a kilobyte whose content is their number."""
    outbox.sql(
        "insert into outbox (aggregatetype, aggregateid, payload, version) select 't', 'k' || i % 5, "
        f"convert_to(lpad(i::text, 1000), 'utf8'), i from generate_series({first}, {last}) i"
    )


@pytest.mark.slow
def test_a_broker_whose_disk_is_full_loses_and_doubles_nothing(
    tmp_path: Path, outbox_at: Callable[[str], Any], wait_until: Callable[..., Any]
) -> None:
    """Its files may grow no more, which to it is a disk without room: it gives its log directory up and ends."""
    broker = Kafka(tmp_path)
    broker.start()
    try:
        outbox = outbox_at(broker.bootstrap)
        outbox.create_topic("t", 1)
        # Cleaning up must not get ahead of what could be written.
        running = outbox.start(cleaning=Cleaning(0)).until_ready()
        outbox.insert(1, 100)
        running.until_rows(100)
        resource.prlimit(broker.pid, resource.RLIMIT_FSIZE, (LARGEST_FILE_BYTES, LARGEST_FILE_BYTES))
        for first in range(101, 1_101, 100):
            insert_large(outbox, first, first + 99)
        wait_until(lambda: broker.exit_code is not None, "the broker's end")
        insert_large(outbox, 1_101, 1_200)
        assert len(outbox.sql("select 1 from outbox")) >= 100
        broker.launch()
        broker.wait_ready()
        running.until_rows(1_200)
        assert numbers(outbox) == list(range(1, 1_201))
        wait_until(lambda: not outbox.sql("select 1 from outbox limit 1"), "all cleaned up")
        assert running.end() == 0
    finally:
        broker.stop()


@pytest.mark.slow
def test_a_broker_frozen_for_longer_than_a_batch_may_last_loses_and_doubles_nothing(
    tmp_path: Path, outbox_at: Callable[[str], Any], wait_until: Callable[..., Any]
) -> None:
    broker = Kafka(tmp_path)
    broker.start()
    try:
        outbox = outbox_at(broker.bootstrap)
        outbox.create_topic("t")
        given = {"transaction_timeout_ms": TRANSACTION_TIMEOUT_MS, "kafka": {"socket.timeout.ms": 1_000}}
        running = outbox.start(**given).until_ready()
        rows = 0
        for _ in range(3):
            outbox.insert(rows + 1, rows + 50)
            os.kill(broker.pid, signal.SIGSTOP)
            outbox.insert(rows + 51, rows + 300, rows_a_transaction=5)
            rows += 300
            aborts = running.metrics.aborts_total + running.metrics.reconnects_total
            began = running.metrics.beat_s
            wait_until(
                lambda began=began, aborts=aborts, running=running: (
                    running.codes
                    or running.metrics.aborts_total + running.metrics.reconnects_total > aborts
                    or running.metrics.beat_s - began > 2 * TRANSACTION_TIMEOUT_MS / 1_000
                ),
                "longer than a batch may last",
            )
            os.kill(broker.pid, signal.SIGCONT)
            wait_until(
                lambda rows=rows, running=running: running.codes or len(numbers(outbox)) >= rows, "all are there"
            )
            if running.codes:
                # Kafka ended the batch, which it answers as it answers a fenced process; the next life goes on.
                assert running.codes == [Fenced.exit_code]
                running = outbox.start(**given).until_ready()
        wait_until(lambda rows=rows: len(numbers(outbox)) >= rows, "all are there")
        assert numbers(outbox) == list(range(1, rows + 1))
        assert running.end() == 0
    finally:
        broker.stop()
