"""Order within an aggregate is that of the numbers, however they are committed and however many processes poll."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import psycopg
from racing_writers import RacingWriters

from connectors.outbox import Polling

INSERT = "insert into outbox (aggregatetype, aggregateid, payload) values ('t', %s, %s)"


def values(records: list[Any]) -> list[bytes]:
    return [record.value() for record in records]


def until_looked(running: Any, wait_until: Callable[..., Any]) -> None:
    """Looks that began after this call are over."""
    for _ in range(3):
        beat_s = running.metrics.beat_s
        wait_until(lambda beat_s=beat_s: running.metrics.beat_s > beat_s, "a look")


def test_a_row_waits_for_an_open_transaction_that_drew_a_smaller_number(
    polled: Any, wait_until: Callable[..., Any]
) -> None:
    polled.create_topic("t", 1)
    running = polled.start().until_ready()
    with psycopg.connect(polled.url) as first, psycopg.connect(polled.url) as second:
        first.execute(INSERT, ("a", b"1"))
        second.execute(INSERT, ("a", b"2"))
        second.commit()
        until_looked(running, wait_until)
        assert polled.read(polled.topic("t")) == []
        first.commit()
    running.until_rows(2)
    assert values(polled.read(polled.topic("t"))) == [b"1", b"2"]
    assert polled.sql("select status, count(*) from outbox group by 1") == [("PUBLISHED", 2)]
    assert running.end() == 0


def test_a_number_that_was_rolled_back_is_waited_for_no_longer(polled: Any) -> None:
    polled.create_topic("t", 1)
    running = polled.start().until_ready()
    with psycopg.connect(polled.url) as first:
        first.execute(INSERT, ("a", b"1"))
        with psycopg.connect(polled.url) as second:
            second.execute(INSERT, ("a", b"2"))
        first.rollback()
    running.until_rows(1)
    assert values(polled.read(polled.topic("t"))) == [b"2"]
    assert running.end() == 0


def test_a_prepared_transaction_is_waited_for_as_well(polled: Any, wait_until: Callable[..., Any]) -> None:
    polled.create_topic("t", 1)
    running = polled.start().until_ready()
    with psycopg.connect(polled.url) as first:
        first.execute(INSERT, ("a", b"1"))
        first.execute(f"prepare transaction '{polled.name}'")
    polled.sql("insert into outbox (aggregatetype, aggregateid, payload) values ('t', 'a', '2')")
    until_looked(running, wait_until)
    assert polled.read(polled.topic("t")) == []
    polled.sql(f"commit prepared '{polled.name}'")
    running.until_rows(2)
    assert values(polled.read(polled.topic("t"))) == [b"1", b"2"]
    assert running.end() == 0


def test_writing_to_other_tables_holds_nothing_up(polled: Any) -> None:
    """Unlike the horizon of all transactions, which one forgotten session anywhere on the server holds back."""
    polled.create_topic("t", 1)
    polled.sql("create table other (content text)")
    with psycopg.connect(polled.url) as other:
        other.execute("insert into other values ('x')")
        running = polled.start().until_ready()
        polled.insert(1, 3)
        running.until_rows(3)
    assert running.end() == 0


def test_concurrent_writers_of_the_same_aggregates_are_published_in_the_order_of_numbers(
    polled: Any, assert_effectively_once: Callable[..., int]
) -> None:
    polled.create_topic("t")
    running = polled.start(polling=Polling(rows_max=20)).until_ready()
    with RacingWriters(polled.url) as writers:
        running.until_rows(400)
    assert writers.rolled_back > 5
    total = polled.sql("select count(*) from outbox")[0][0]
    running.until_rows(total)
    assert assert_effectively_once(polled, polled.until_read(total, polled.topic("t"))) == 0
    assert running.end() == 0


def test_processes_side_by_side_share_the_aggregates(polled: Any, assert_effectively_once: Callable[..., int]) -> None:
    polled.create_topic("t")
    runnings = [polled.start(polling=Polling(rows_max=30)).until_ready() for _ in range(3)]
    with RacingWriters(polled.url, aggregates=40, seed=2):
        for running in runnings:
            running.until_rows(100)
    total = polled.sql("select count(*) from outbox")[0][0]
    assert assert_effectively_once(polled, polled.until_read(total, polled.topic("t"))) == 0
    assert [running.end() for running in runnings] == [0, 0, 0]
    assert polled.sql("select distinct status from outbox") == [("PUBLISHED",)]


def test_a_frozen_process_is_worked_around_and_its_seat_is_not_given_away(
    polled: Any, assert_effectively_once: Callable[..., int], wait_until: Callable[..., Any]
) -> None:
    polled.create_topic("t")
    frozen = polled.spawn()
    polled.insert(1, 10)
    polled.until_written(10)
    frozen.send_signal(signal.SIGSTOP)
    running = polled.start().until_ready()
    polled.insert(11, 40)
    running.until_rows(30)
    frozen.send_signal(signal.SIGCONT)
    polled.insert(41, 60)
    assert assert_effectively_once(polled, polled.until_read(60, polled.topic("t"))) == 0
    wait_until(lambda: polled.sql("select distinct status from outbox") == [("PUBLISHED",)], "written")
    frozen.send_signal(signal.SIGTERM)
    assert frozen.wait(60) == 0
    assert running.end() == 0
