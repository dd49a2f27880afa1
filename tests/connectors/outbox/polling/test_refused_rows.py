"""A row that Kafka refuses becomes a dead letter and FAILED; its aggregate waits behind it and nothing else does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import psycopg

REDRIVE = "update outbox set status = 'PENDING' where status = 'FAILED'"


def started(outbox: Any) -> tuple[Any, Any]:
    dead = outbox.letters()
    running = outbox.start(create_topics=False, dead_letter_topic=dead.topic, dead_letter=dead.write)
    return running.until_ready(), dead


def row(outbox: Any, key: str, version: int, size: int = 10) -> None:
    outbox.sql(
        "insert into outbox (aggregatetype, aggregateid, payload, version) "
        f"values ('t', '{key}', convert_to(lpad('{version}', {size}), 'utf8'), {version})"
    )


def published(outbox: Any) -> dict[str, list[int]]:
    found = defaultdict(list)
    for record in outbox.read(outbox.topic("t")):
        found[record.key().decode()].append(int(record.value()))
    return dict(found)


def statuses(outbox: Any) -> list[tuple[int, str]]:
    return outbox.sql("select version, status from outbox order by number")


def test_later_rows_wait_behind_a_refused_one_until_it_is_redriven(polled: Any, wait_until: Callable[..., Any]) -> None:
    polled.create_topic("t", **{"max.message.bytes": "2000"})
    running, dead = started(polled)
    row(polled, "a", 1)
    row(polled, "a", 2, 3_000)
    row(polled, "a", 3)
    row(polled, "b", 4)
    running.until_rows(2)
    wait_until(lambda: running.metrics.dead_letters_total == 1, "set aside")
    row(polled, "a", 5)
    row(polled, "b", 6)
    running.until_rows(3)
    assert published(polled) == {"a": [1], "b": [4, 6]}
    assert statuses(polled) == [
        (1, "PUBLISHED"), (2, "FAILED"), (3, "PENDING"), (4, "PUBLISHED"), (5, "PENDING"), (6, "PUBLISHED")
    ]  # fmt: skip
    (reason,) = polled.sql("select status_reason from outbox where version = 2")[0]
    assert "topic" in reason
    assert "takes" in reason
    (letter,) = polled.read(dead.topic)
    assert letter.value() == reason.encode()

    polled.limit_topic("t", 100_000)
    assert running.end() == 0
    again = polled.start(create_topics=False, dead_letter_topic=dead.topic, dead_letter=dead.write).until_ready()
    polled.sql(REDRIVE)
    again.until_rows(3)
    assert published(polled) == {"a": [1, 2, 3, 5], "b": [4, 6]}
    assert polled.read(dead.topic)[-1].value() is None, "the letter is taken away"
    assert polled.sql("select distinct status, status_reason, status_letter from outbox") == [("PUBLISHED", None, None)]
    assert (again.metrics.mended_total, again.end()) == (1, 0)


def test_a_row_written_in_the_moment_of_a_redrive_comes_behind_those_that_waited(
    polled: Any, wait_until: Callable[..., Any]
) -> None:
    polled.create_topic("t", **{"max.message.bytes": "2000"})
    running, _ = started(polled)
    row(polled, "a", 1, 3_000)
    row(polled, "a", 2)
    wait_until(lambda: statuses(polled)[0] == (1, "FAILED"), "set aside")
    for version in range(3, 9):
        running_rows = running.metrics.rows_total
        row(polled, "b", version)
        running.until_rows(running_rows + 1)
    with psycopg.connect(polled.url) as connection:
        connection.execute("update outbox set payload = '1', status = 'PENDING' where version = 1")
        connection.execute(
            "insert into outbox (aggregatetype, aggregateid, payload, version) values ('t', 'a', '9', 9)"
        )
    running.until_rows(9)
    assert published(polled)["a"] == [1, 2, 9]
    assert running.end() == 0


def test_a_redriven_row_that_is_refused_again_fails_again(polled: Any, wait_until: Callable[..., Any]) -> None:
    polled.create_topic("t", **{"max.message.bytes": "2000"})
    running, dead = started(polled)
    row(polled, "a", 1, 3_000)
    row(polled, "a", 2)
    wait_until(lambda: statuses(polled)[0] == (1, "FAILED"), "set aside")
    polled.sql(REDRIVE)
    wait_until(lambda: running.metrics.dead_letters_total == 2, "set aside again")
    wait_until(lambda: statuses(polled) == [(1, "FAILED"), (2, "PENDING")], "written")
    polled.sql("update outbox set payload = '1', status = 'PENDING' where version = 1")
    running.until_rows(2)
    assert published(polled) == {"a": [1, 2]}
    keys = {letter.key(): letter.value() for letter in polled.read(dead.topic)}
    assert list(keys.values()) == [None]
    assert running.end() == 0


def test_a_row_that_only_the_broker_refuses_is_found_out_without_publishing_what_follows_it(
    polled: Any, wait_until: Callable[..., Any]
) -> None:
    """The topic's limit is lowered behind the connector's back, so that its own check lets the row pass."""
    polled.create_topic("t", 1)
    running, dead = started(polled)
    row(polled, "a", 1)
    running.until_rows(1)
    polled.limit_topic("t", 1_000)
    polled.sql(
        "insert into outbox (aggregatetype, aggregateid, payload, version) select 't', 'a', "
        "convert_to(lpad(i::text, case i when 3 then 3000 else 10 end), 'utf8'), i from generate_series(2, 5) i"
    )
    wait_until(lambda: running.metrics.dead_letters_total >= 1, "set aside")
    wait_until(lambda: statuses(polled)[2] == (3, "FAILED"), "written")
    assert published(polled) == {"a": [1, 2]}
    assert running.metrics.aborts_total >= 1
    assert len(polled.read(dead.topic)) == 1
    assert running.end() == 0


def test_a_row_without_a_key_is_an_aggregate_of_its_own(polled: Any, wait_until: Callable[..., Any]) -> None:
    polled.create_topic("t")
    running, _ = started(polled)
    polled.sql(
        "insert into outbox (aggregatetype, payload) values ('absent', '1')",
        "insert into outbox (aggregatetype, payload) values ('t', '2'), ('t', '3')",
    )
    running.until_rows(2)
    assert sorted(record.value() for record in polled.read(polled.topic("t"))) == [b"2", b"3"]
    wait_until(lambda: running.metrics.dead_letters_total == 1, "set aside")
    assert running.end() == 0


def test_a_row_that_is_changed_or_deleted_while_it_is_pending_does_no_harm(
    polled: Any, wait_until: Callable[..., Any]
) -> None:
    polled.create_topic("t", 1, **{"max.message.bytes": "2000"})
    running, _ = started(polled)
    row(polled, "a", 1, 3_000)
    wait_until(lambda: statuses(polled) == [(1, "FAILED")], "set aside")
    row(polled, "a", 2)
    row(polled, "a", 3)
    polled.sql("update outbox set payload = '20' where version = 2", "delete from outbox where version = 1")
    running.until_rows(2)
    assert published(polled) == {"a": [20, 3]}
    assert running.end() == 0


def test_without_dead_letters_such_a_row_ends_the_process(polled: Any) -> None:
    running = polled.start(create_topics=False)
    row(polled, "a", 1)
    assert running.exit_code() == 20
    assert statuses(polled) == [(1, "PENDING")]
