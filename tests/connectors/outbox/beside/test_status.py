"""What became of each row, in SQL: late by a moment, never early, and true again after a redrive."""

from __future__ import annotations

from typing import Any

import psycopg

from connectors.outbox.waiting.asking import ask
from connectors.outbox.waiting.entries import Request
from schemas.outbox_status import status_sql

BY_VERSION = "select o.version, s.status from outbox_status s join outbox o using (id) order by o.version"


def rows(outbox: Any, *values: str) -> None:
    listed = ", ".join(f"('t', {value})" for value in values)
    outbox.sql(f"insert into outbox (aggregatetype, aggregateid, payload, version) values {listed}")


def test_pending_published_and_failed_are_told_apart(outbox: Any, wait_until: Any) -> None:
    outbox.sql(status_sql("outbox"))
    outbox.create_topic("t", **{"max.message.bytes": "2000"})
    rows(outbox, "'a', '1', 1")
    assert outbox.sql(BY_VERSION) == [(1, "PENDING")]
    dead = outbox.letters()
    running = outbox.start(create_topics=False, dead_letter_topic=dead.topic, dead_letter=dead.write).until_ready()
    rows(outbox, "'a', convert_to(repeat('x', 3000), 'utf8'), 2", "'a', '3', 3", "'b', '4', 4")
    expected = [(1, "PUBLISHED"), (2, "FAILED"), (3, "PENDING"), (4, "PUBLISHED")]
    wait_until(lambda: outbox.sql(BY_VERSION) == expected, "all told")
    assert "bytes" in outbox.sql("select reason from outbox_status where status = 'FAILED'")[0][0]
    outbox.limit_topic("t", 100_000)
    ask(running.config, Request())
    wait_until(lambda: {status for _, status in outbox.sql(BY_VERSION)} == {"PUBLISHED"}, "all published")
    assert running.end() == 0


def test_a_row_of_an_open_savepoint_is_not_said_to_be_published(outbox: Any, wait_until: Any) -> None:
    outbox.sql(status_sql("outbox"))
    outbox.create_topic("t")
    running = outbox.start(create_topics=False).until_ready()
    with psycopg.connect(outbox.url) as slow, slow.transaction():
        slow.execute("insert into outbox (aggregatetype, aggregateid, payload, version) values ('t', 'a', '1', 1)")
        with slow.transaction():
            slow.execute("insert into outbox (aggregatetype, aggregateid, payload, version) values ('t', 'a', '2', 2)")
        rows(outbox, "'b', '3', 3")
        running.until_rows(1)
        wait_until(lambda: outbox.sql("select 1 from outbox_progress"), "told")
        assert outbox.sql(BY_VERSION) == [(3, "PENDING")], "held back by the open transaction"
        assert slow.execute(BY_VERSION).fetchall() == [(1, "PENDING"), (2, "PENDING"), (3, "PENDING")]
    wait_until(lambda: {status for _, status in outbox.sql(BY_VERSION)} == {"PUBLISHED"}, "all published")
    assert running.end() == 0


def test_names_that_must_be_quoted_are_kept_so() -> None:
    assert 'create view "Out_status"' in status_sql('"Out"', '"Id"')
