"""What is not published, asked of a polled table, and tried again by whoever polls it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from connectors.outbox.polling.asking import AskedTable
from connectors.outbox.polling.options import Polling
from connectors.outbox.waiting.entries import Aggregate, Request, State


def row(outbox: Any, key: str, version: int, size: int = 10) -> None:
    outbox.sql(
        "insert into outbox (aggregatetype, aggregateid, payload, version) "
        f"values ('t', '{key}', convert_to(lpad('{version}', {size}), 'utf8'), {version})"
    )


def test_failed_rows_and_those_behind_them_are_listed_and_redriven(polled: Any, wait_until: Callable[..., Any]) -> None:
    polled.create_topic("t", **{"max.message.bytes": "2000"})
    dead = polled.letters()
    running = polled.start(create_topics=False, dead_letter_topic=dead.topic, dead_letter=dead.write).until_ready()
    row(polled, "a", 1)
    row(polled, "a", 2, 3_000)
    row(polled, "a", 3)
    row(polled, "b", 4)
    running.until_rows(2)
    with psycopg.connect(polled.url, autocommit=True) as connection:
        asked = AskedTable(connection, ("public", "outbox"), Polling())
        wait_until(lambda: len(asked.unpublished()) == 2, "told")
        failed, behind = asked.unpublished()
        assert (failed.state, behind.state) == (State.FAILED, State.WAITING)
        assert failed.aggregate == behind.aggregate == Aggregate("t", "a")
        assert "takes" in failed.reason
        assert behind.reason == f"waits behind row {failed.row_id}"

        assert asked.redrive(Request(row_id="no such"), 20) is None
        refused_again = asked.redrive(Request(row_id=behind.row_id), 20) or []
        assert [entry.row_id for entry in refused_again] == [failed.row_id, behind.row_id]

        polled.limit_topic("t", 100_000)
        assert asked.redrive(Request(aggregate="t/a"), 20) == []
    assert polled.sql("select count(*) from outbox where status = 'PUBLISHED'") == [(4,)]
    assert running.end() == 0
    versions = [int(record.value()) for record in polled.read(polled.topic("t")) if record.key() == b"a"]
    assert versions == [1, 2, 3]


def test_a_row_that_nobody_takes_is_out_of_reach(polled: Any) -> None:
    row(polled, "a", 1)
    polled.sql("update outbox set status = 'FAILED', status_reason = 'no topic'")
    with psycopg.connect(polled.url, autocommit=True) as connection:
        asked = AskedTable(connection, ("public", "outbox"), Polling())
        with pytest.raises(TimeoutError):
            asked.redrive(Request(), 0)
        assert asked.unpublished() == []
