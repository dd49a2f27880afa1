"""A database transaction larger than the window's cap: in several batches, resumable in the middle, never seen twice."""

from __future__ import annotations

import signal
from collections import Counter
from typing import Any

import pytest

from connectors.outbox import Window
from connectors.outbox.positions import parse_position
from connectors.outbox.stored import read_stored_position

ROWS = 50_000
PART = 4_000


def insert_at_once(outbox: Any, first: int, last: int) -> None:
    outbox.sql(
        "insert into outbox (aggregatetype, aggregateid, payload, version) "
        f"select 't', 'k' || i % 7, convert_to(i::text, 'utf8'), i from generate_series({first}, {last}) i"
    )


def assert_each_once_in_order(records: list[Any], last: int) -> None:
    seen = [int(record.value()) for record in records]
    assert len(seen) == last
    assert Counter(seen) == Counter(range(1, last + 1))
    by_key: dict[bytes, list[int]] = {}
    for record in records:
        by_key.setdefault(record.key(), []).append(int(record.value()))
    assert all(versions == sorted(versions) for versions in by_key.values())


def test_a_transaction_above_the_cap_comes_in_several_batches(outbox: Any) -> None:
    outbox.create_topic("t")
    running = outbox.start(window=Window(part_rows_max=PART)).until_ready()
    insert_at_once(outbox, 1, ROWS)
    outbox.insert(ROWS + 1, ROWS + 3)
    running.until_rows(ROWS + 3)
    assert running.metrics.batches_total > ROWS // PART
    assert running.metrics.transactions_total == 4
    assert_each_once_in_order(outbox.read(outbox.topic("t")), ROWS + 3)
    assert running.end() == 0
    assert read_stored_position(outbox.config()).part_of == 0


def test_a_transaction_above_the_cap_in_bytes_comes_in_several_batches(outbox: Any) -> None:
    outbox.create_topic("t")
    running = outbox.start(window=Window(part_bytes_max=100_000)).until_ready()
    insert_at_once(outbox, 1, 10_000)
    running.until_rows(10_000)
    assert running.metrics.batches_total > 3
    assert_each_once_in_order(outbox.read(outbox.topic("t")), 10_000)
    assert running.end() == 0


@pytest.mark.parametrize("step", ["batch_sent:3", "batch_stored:3", "batch_stored:7"])
def test_a_kill_between_two_parts_goes_on_with_the_next_row(outbox: Any, step: str) -> None:
    outbox.create_topic("t")
    first = outbox.spawn(TEST_PART_ROWS=str(PART), TEST_KILL_AT=step)
    outbox.insert(1, 1)
    outbox.until_read(1, outbox.topic("t"))
    insert_at_once(outbox, 2, ROWS)
    assert first.wait(60) == -signal.SIGKILL
    stored = read_stored_position(outbox.config())
    assert stored.part_of > stored.position
    (confirmed,) = outbox.sql(
        f"select confirmed_flush_lsn::text from pg_replication_slots where slot_name = '{outbox.name}'"
    )[0]
    assert parse_position(confirmed) <= stored.position
    assert stored.part_rows % PART == 0
    # Killed again before it stores anything, then with another size of parts.
    again = outbox.spawn(TEST_PART_ROWS=str(PART), TEST_KILL_AT="batch_sent")
    assert again.wait(60) == -signal.SIGKILL
    outbox.spawn(TEST_PART_ROWS=str(PART + 777))
    assert_each_once_in_order(outbox.until_read(ROWS, outbox.topic("t")), ROWS)
    outbox.insert(ROWS + 1, ROWS + 2)
    assert_each_once_in_order(outbox.until_read(ROWS + 2, outbox.topic("t")), ROWS + 2)
    while read_stored_position(outbox.config()).part_of:
        pass
