"""Cleaning up takes what is in Kafka and nothing else, whatever is open, refused or killed meanwhile."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from connectors.outbox import Cleaning
from connectors.outbox.errors import TableUnfit
from connectors.outbox.waiting.asking import ask
from connectors.outbox.waiting.entries import Request
from schemas.outbox_status import status_sql

AT_ONCE = Cleaning(0)
PARTITIONED = """create table outbox (id uuid not null default gen_random_uuid(), aggregatetype text, aggregateid text,
type text, payload bytea, version bigint, created_at timestamptz not null default now()) partition by range (created_at)"""
DAYS = (
    "create table outbox_past partition of outbox for values from ('2020-01-01') to ('2020-01-02')",
    "create table outbox_held partition of outbox for values from ('2020-01-02') to ('2020-01-03')",
    "create table outbox_now partition of outbox for values from ('2020-01-03') to ('2100-01-01')",
    "create table outbox_future partition of outbox for values from ('2100-01-01') to ('2100-01-02')",
)


def versions(outbox: Any) -> set[int]:
    return {row[0] for row in outbox.sql("select version from outbox")}


def published(outbox: Any) -> list[int]:
    return sorted(int(record.value()) for record in outbox.read(outbox.topic("t")))


def started(outbox: Any, **changes: Any) -> Any:
    """Rounds wait for the stored position, which a quiet stream moves only now and then."""
    return outbox.start(advance_every_s=0.1, **changes)


def test_nothing_is_removed_unless_it_is_asked_for(outbox: Any) -> None:
    running = outbox.start().until_ready()
    outbox.insert(1, 5)
    running.until_rows(5)
    assert running.end() == 0
    assert (versions(outbox), running.metrics.cleaned_total) == (set(range(1, 6)), 0)


def test_published_rows_go_and_those_of_an_open_transaction_stay(outbox: Any, wait_until: Any) -> None:
    outbox.sql(status_sql("outbox"))
    running = started(outbox, cleaning=AT_ONCE).until_ready()
    with psycopg.connect(outbox.url) as slow, slow.transaction():
        slow.execute("insert into outbox (aggregatetype, aggregateid, payload, version) values ('t', 'k', '1', 1)")
        outbox.insert(2, 20)
        running.until_rows(19)
        # A round in which nothing could go: the open transaction is older than all of them.
        wait_until(
            lambda: outbox.sql("select 1 from outbox_progress where cleaned_before is not null"), "a round is made"
        )
        assert versions(outbox) == set(range(2, 21))
    wait_until(lambda: not versions(outbox), "all gone")
    assert published(outbox) == list(range(1, 21))
    assert running.metrics.cleaned_total == 20
    assert running.end() == 0


def test_a_row_goes_only_when_it_is_old_enough_by_its_own_time(outbox: Any, wait_until: Any) -> None:
    running = started(outbox, cleaning=Cleaning(1.0, "created_at")).until_ready()
    outbox.sql(
        "insert into outbox (aggregatetype, aggregateid, payload, version, created_at) values "
        "('t', 'k', '1', 1, now() - interval '1 day'), ('t', 'k', '2', 2, now() + interval '1 day')"
    )
    wait_until(lambda: versions(outbox) == {2}, "the old one gone")
    assert published(outbox) == [1, 2]
    assert running.end() == 0


def test_without_a_time_of_its_own_a_row_ages_from_when_it_was_published(outbox: Any, wait_until: Any) -> None:
    running = started(outbox, cleaning=Cleaning(3_600.0)).until_ready()
    outbox.insert(1, 3)
    running.until_rows(3)
    assert running.end() == 0
    assert versions(outbox) == {1, 2, 3}
    again = started(outbox, cleaning=Cleaning(0.5)).until_ready()
    wait_until(lambda: not versions(outbox), "gone")
    assert again.end() == 0


def test_what_kafka_refused_and_what_waits_behind_it_stays_until_it_is_mended(outbox: Any, wait_until: Any) -> None:
    outbox.create_topic("t", **{"max.message.bytes": "2000"})
    dead = outbox.letters()
    given = {"create_topics": False, "dead_letter_topic": dead.topic, "dead_letter": dead.write}
    running = started(outbox, cleaning=AT_ONCE, **given).until_ready()
    outbox.sql(
        "insert into outbox (aggregatetype, aggregateid, payload, version) values ('t', 'a', '1', 1), "
        "('t', 'a', convert_to(lpad('2', 3000), 'utf8'), 2), ('t', 'a', '3', 3), ('t', 'b', '4', 4)"
    )
    wait_until(lambda: versions(outbox) == {2, 3}, "the published ones gone")
    outbox.limit_topic("t", 100_000)
    ask(running.config, Request())
    wait_until(lambda: not versions(outbox), "all gone")
    assert published(outbox) == [1, 2, 3, 4]
    assert running.end() == 0


def test_a_partition_whose_time_is_over_is_dropped_if_nothing_in_it_is_needed(
    bare_outbox: Any, wait_until: Any
) -> None:
    bare_outbox.sql(PARTITIONED, *DAYS)
    bare_outbox.create_topic("t", **{"max.message.bytes": "2000"})
    dead = bare_outbox.letters()
    given = {"create_topics": False, "dead_letter_topic": dead.topic, "dead_letter": dead.write}
    running = started(bare_outbox, cleaning=Cleaning(1.0, "created_at"), **given).until_ready()
    bare_outbox.sql(
        "insert into outbox (aggregatetype, aggregateid, payload, version, created_at) values "
        "('t', 'a', '1', 1, '2020-01-01'), ('t', 'b', convert_to(lpad('2', 3000), 'utf8'), 2, '2020-01-02'), "
        "('t', 'c', '3', 3, '2020-01-02'), ('t', 'd', '4', 4, '2099-01-01')"
    )
    wait_until(lambda: versions(bare_outbox) == {2, 4}, "what is old and published gone")
    left = bare_outbox.sql("select relid::regclass::text from pg_partition_tree('outbox') where isleaf order by 1")
    assert left == [("outbox_future",), ("outbox_held",), ("outbox_now",)]
    assert published(bare_outbox) == [1, 3, 4]
    assert running.end() == 0


def test_rows_that_somebody_has_locked_are_left_for_later(outbox: Any, wait_until: Any) -> None:
    outbox.sql(status_sql("outbox"))
    # A slot cannot be made beside an open transaction.
    assert outbox.start().until_ready().end() == 0
    outbox.insert(1, 2)
    with psycopg.connect(outbox.url) as reader:
        reader.execute("select 1 from outbox where version = 1 for update")
        running = started(outbox, cleaning=AT_ONCE).until_ready()
        outbox.insert(3, 4)
        running.until_rows(4)
        wait_until(lambda: outbox.sql("select 1 from outbox_progress where cleaned_before is not null"), "a round")
        assert versions(outbox) >= {1, 2}
        reader.rollback()
        wait_until(lambda: not versions(outbox), "gone")
    assert running.end() == 0


def test_deletes_in_a_publication_of_all_operations_are_no_invalid_ones(outbox: Any, wait_until: Any) -> None:
    outbox.sql(f"create publication {outbox.name}_pub for table outbox")
    running = started(outbox, cleaning=AT_ONCE, routing={"invalid_operation": "fatal"}).until_ready()
    outbox.insert(1, 10)
    wait_until(lambda: running.metrics.cleaned_total == 10, "gone")
    outbox.insert(11, 12)
    running.until_rows(12)
    assert (running.metrics.skipped_operations_total, running.end()) == (0, 0)


@pytest.fixture
def as_reader(postgres: Any) -> Iterator[Callable[[Any], str]]:
    """Address of an outbox' database as a role that may only read it."""
    made: list[Any] = []

    def make(outbox: Any) -> str:
        postgres.create_role(outbox.name, "secret", replication=True)
        outbox.sql(
            f"create publication {outbox.name}_pub for table outbox with (publish = 'insert')",
            f"grant select on outbox to {outbox.name}",
        )
        made.append(outbox)
        return str(postgres.url(outbox.name, outbox.name, "secret"))

    yield make
    for outbox in made:
        outbox.end_all()
        outbox.sql(f"drop owned by {outbox.name}", f"drop role {outbox.name}")


def test_a_role_that_may_not_delete_carries_all_the_same(outbox: Any, as_reader: Any) -> None:
    running = started(outbox, cleaning=AT_ONCE, source_url=as_reader(outbox)).until_ready()
    outbox.insert(1, 10)
    running.until_rows(10)
    assert running.end() == 0
    assert versions(outbox) == set(range(1, 11))


def test_a_column_of_age_that_is_no_time_is_refused_at_the_start(outbox: Any) -> None:
    running = started(outbox, cleaning=Cleaning(1.0, "version"))
    assert running.exit_code() == TableUnfit.exit_code


def kill_and_clean(outbox: Any, kills: int) -> None:
    """Every life cleans up at once; what was committed comes once, so nothing went before it came."""
    outbox.create_topic("t")
    rows, process = 0, outbox.spawn("--clean-after", "0")
    for _ in range(kills):
        outbox.insert(rows + 1, rows + 400)
        rows += 400
        assert process.poll() is None, process.stderr.read().decode()
        process.send_signal(signal.SIGKILL)
        process.wait()
        outbox.insert(rows + 1, rows + 50, rows_a_transaction=5)
        rows += 50
        process = outbox.spawn("--clean-after", "0")
    records = outbox.until_read(rows, outbox.topic("t"))
    assert sorted(int(record.value()) for record in records) == list(range(1, rows + 1))


def test_kills_while_cleaning_up_lose_nothing(outbox: Any, wait_until: Any) -> None:
    kill_and_clean(outbox, 2)
    wait_until(lambda: not versions(outbox), "all gone")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_thirty_kills_while_cleaning_up_lose_nothing(outbox: Any) -> None:
    kill_and_clean(outbox, 30)
