"""A refused row holds back its aggregate and nothing else; redriven, all of it comes once and in order, whatever is killed."""

from __future__ import annotations

import signal
from collections import defaultdict
from typing import Any

from connectors.outbox.waiting.asking import ask, until_answered
from connectors.outbox.waiting.entries import Request, State
from connectors.outbox.waiting.topic import read_waiting

# Enough that a redrive takes long enough to be killed in.
ROWS = 8_000


def started(outbox: Any, **changes: Any) -> tuple[Any, Any]:
    dead = outbox.letters()
    given = {"create_topics": False, "dead_letter_topic": dead.topic, "dead_letter": dead.write}
    return outbox.start(**given | changes).until_ready(), dead


def large(outbox: Any, key: str, version: int, size: int = 3_000) -> None:
    outbox.sql(
        "insert into outbox (aggregatetype, aggregateid, payload, version) "
        f"values ('t', '{key}', convert_to(lpad('{version}', {size}), 'utf8'), {version})"
    )


def small(outbox: Any, key: str, *versions: int) -> None:
    for version in versions:
        large(outbox, key, version, 10)


def versions_by_key(outbox: Any) -> dict[str, list[int]]:
    found = defaultdict(list)
    for record in outbox.read(outbox.topic("t")):
        found[record.key().decode()].append(int(record.value()))
    return dict(found)


def test_later_rows_wait_behind_a_refused_one_and_others_go_on(outbox: Any, wait_until: Any) -> None:
    outbox.create_topic("t", **{"max.message.bytes": "2000"})
    running, dead = started(outbox)
    small(outbox, "a", 1)
    large(outbox, "a", 2)
    small(outbox, "a", 3, 4)
    small(outbox, "b", 5, 6)
    running.until_rows(6)
    assert versions_by_key(outbox) == {"a": [1], "b": [5, 6]}
    states = [entry.state for entry in read_waiting(running.config).entries.values()]
    assert states == [State.FAILED, State.WAITING, State.WAITING]
    assert (running.metrics.failed_rows, running.metrics.waiting_rows) == (1, 2)
    assert len(outbox.read(dead.topic)) == 1
    ask(running.config, Request())
    wait_until(lambda: not read_waiting(running.config).requests, "answered")
    assert versions_by_key(outbox) == {"a": [1], "b": [5, 6]}, "still too large"
    outbox.limit_topic("t", 100_000)
    assert running.end() == 0

    again = outbox.start(create_topics=False, dead_letter_topic=dead.topic, dead_letter=dead.write).until_ready()
    small(outbox, "a", 7)
    key = ask(again.config, Request(aggregate="a"))
    left = until_answered(again.config, key, 60)
    assert left is not None
    assert not left.entries
    small(outbox, "a", 8)
    again.until_rows(2)
    assert versions_by_key(outbox) == {"a": [1, 2, 3, 4, 7, 8], "b": [5, 6]}
    assert outbox.read(dead.topic)[-1].value() is None, "the letter is taken away"
    assert again.end() == 0


def test_a_row_that_was_corrected_in_the_table_is_sent_as_it_is_now(outbox: Any) -> None:
    outbox.create_topic("t")
    running, _ = started(outbox)
    outbox.sql("insert into outbox (aggregatetype, aggregateid, payload, version) values (null, 'a', '1', 1)")
    running.until_rows(1)
    outbox.sql("update outbox set aggregatetype = 't'")
    left = until_answered(running.config, ask(running.config, Request()), 60)
    assert left is not None
    assert not left.entries
    assert versions_by_key(outbox) == {"a": [1]}
    assert running.end() == 0


def test_a_row_that_left_the_table_is_sent_from_what_was_kept(outbox: Any) -> None:
    outbox.create_topic("t", **{"max.message.bytes": "2000"})
    running, _ = started(outbox)
    large(outbox, "a", 1)
    small(outbox, "a", 2)
    running.until_rows(2)
    outbox.sql("delete from outbox")
    outbox.limit_topic("t", 100_000)
    left = until_answered(running.config, ask(running.config, Request()), 60)
    assert left is not None
    assert not left.entries
    assert versions_by_key(outbox) == {"a": [1, 2]}
    assert running.end() == 0


def test_a_waiting_row_that_is_refused_itself_becomes_the_next_failed_one(outbox: Any) -> None:
    outbox.create_topic("t", **{"max.message.bytes": "2000"})
    running, dead = started(outbox)
    outbox.sql(
        "insert into outbox (aggregatetype, aggregateid, payload, version) values ('t', 'a', convert_to(repeat('x', 3000), 'utf8'), 1)"
    )
    small(outbox, "a", 2)
    large(outbox, "a", 3)
    small(outbox, "a", 4)
    running.until_rows(4)
    outbox.sql("update outbox set payload = '1' where version = 1")
    left = until_answered(running.config, ask(running.config, Request()), 60)
    assert left is not None
    assert [entry.state for entry in left.entries.values()] == [State.FAILED, State.WAITING]
    assert versions_by_key(outbox) == {"a": [1, 2]}
    assert len([record for record in outbox.read(dead.topic) if record.value()]) == 2
    assert running.end() == 0


def test_a_redrive_that_is_killed_again_and_again_leaves_neither_copies_nor_gaps(outbox: Any, wait_until: Any) -> None:
    outbox.create_topic("letters", 1)
    arguments = ("--no-create-topics", "--dead-letters", outbox.topic("letters"))
    config = outbox.config()
    process = outbox.spawn(*arguments)
    # Topic t is absent, so that the first row of each aggregate fails.
    outbox.sql(
        "insert into outbox (aggregatetype, aggregateid, payload, version) "
        f"select 't', 'k' || i % 5, convert_to(i::text, 'utf8'), i from generate_series(1, {ROWS}) i"
    )
    outbox.insert(1, 1, topic="letters")

    def kept() -> int:
        return (
            len(read_waiting(config).entries)
            if config.waiting_topic in outbox.admin.list_topics(timeout=20).topics
            else 0
        )

    wait_until(lambda: process.poll() is not None or kept() == ROWS, "all waiting")
    assert process.poll() is None, process.stderr.read().decode()
    outbox.create_topic("t", 2)
    key = ask(config, Request())
    for mended in (500, 2_500, 4_500):
        wait_until(lambda mended=mended: ROWS - kept() >= mended, "so many mended")
        process.send_signal(signal.SIGKILL)
        process.wait()
        process = outbox.spawn(*arguments)
        outbox.insert(ROWS + mended, ROWS + mended + 10)
    left = until_answered(config, key, 120)
    assert left is not None
    count = ROWS + 33
    if left.entries:
        until_answered(config, ask(config, Request()), 120)
    outbox.until_read(count, outbox.topic("t"))
    found = versions_by_key(outbox)
    assert sum(map(len, found.values())) == count
    assert sum(len(set(versions)) for versions in found.values()) == count
    assert all(versions == sorted(versions) for versions in found.values())
