"""Starts that must be refused, each on real servers with its own exit code; and the ways out."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from confluent_kafka import Producer

from connectors.outbox.positions import StoredPosition


def run_once(outbox: Any, rows: int = 3, **changes: Any) -> None:
    """A first life that publishes a few rows and ends in order."""
    outbox.insert(1, rows)
    running = outbox.start(**changes)
    running.until_rows(rows)
    assert running.end() == 0
    outbox.until_slot_is_free()


def store(outbox: Any, stored: StoredPosition) -> None:
    producer = Producer({"bootstrap.servers": outbox.bootstrap, "enable.idempotence": True, "log_level": 2})
    producer.produce(outbox.config().positions_topic, stored.to_json(0), outbox.name)
    assert producer.flush(20) == 0


def test_a_slot_ahead_of_the_position_is_refused(outbox: Any) -> None:
    run_once(outbox)
    outbox.insert(4, 5)
    # A slot advances only over log that is on disk, and the tests' server commits without waiting for that.
    outbox.sql("checkpoint", f"select pg_replication_slot_advance('{outbox.name}', pg_current_wal_lsn())")
    assert outbox.start().exit_code() == 10


def test_a_position_without_its_slot_is_refused_and_forgetting_sends_the_table_again(outbox: Any) -> None:
    run_once(outbox)
    outbox.sql(f"select pg_drop_replication_slot('{outbox.name}')")
    assert outbox.start().exit_code() == 11
    outbox.start(forget_position=True).until_rows(3)
    assert len(outbox.until_read(6)) == 6


def test_a_slot_without_a_position_is_refused(outbox: Any) -> None:
    outbox.sql(f"select pg_create_logical_replication_slot('{outbox.name}', 'pgoutput')")
    assert outbox.start().exit_code() == 12


def test_a_position_of_another_database_system_is_refused(outbox: Any) -> None:
    run_once(outbox)
    store(outbox, StoredPosition("4711", 1, outbox.name, 1))
    assert outbox.start().exit_code() == 13


def test_a_position_of_a_timeline_that_the_server_does_not_have_is_refused(outbox: Any) -> None:
    run_once(outbox)
    system = outbox.sql("select system_identifier::text from pg_control_system()")[0][0]
    store(outbox, StoredPosition(system, 99, outbox.name, 2**60))
    assert outbox.start().exit_code() == 19


def test_a_publication_that_misses_the_table_is_refused(outbox: Any) -> None:
    outbox.sql("create table other (id int primary key)", f"create publication {outbox.name}_pub for table other")
    assert outbox.start().exit_code() == 16


def test_a_publication_without_inserts_or_without_a_column_is_refused(outbox: Any) -> None:
    outbox.sql(f"create publication {outbox.name}_pub for table outbox with (publish = 'update')")
    assert outbox.start().exit_code() == 16
    outbox.sql(f"drop publication {outbox.name}_pub", f"create publication {outbox.name}_pub for table outbox (id)")
    assert outbox.start().exit_code() == 16
    outbox.sql(
        f"drop publication {outbox.name}_pub",
        f"create publication {outbox.name}_pub for table outbox where (version > 3)",
    )
    assert outbox.start().exit_code() == 16


def test_a_table_or_column_that_is_not_there_is_refused(bare_outbox: Any) -> None:
    assert bare_outbox.start().exit_code() == 22
    bare_outbox.sql("create table outbox (id int primary key, aggregatetype text)")
    assert bare_outbox.start().exit_code() == 22


def test_an_idle_predecessor_gives_way_without_a_war(outbox: Any) -> None:
    run_once(outbox)
    holder = outbox.start()
    holder.until_ready()
    # It is idle, so it does not know yet that it is fenced, and would fight for the slot if it did not ask Kafka first.
    outbox.start().until_ready()
    assert holder.exit_code() == 30


def test_a_first_start_that_broke_off_begins_anew(outbox: Any) -> None:
    run_once(outbox)
    system = outbox.sql("select system_identifier::text from pg_control_system()")[0][0]
    store(outbox, StoredPosition(system, 1, outbox.name, 0, making=True))
    outbox.start().until_rows(3)


def test_a_role_without_the_right_to_make_the_publication_is_told_so(outbox: Any) -> None:
    role = f"{outbox.name}_role"
    outbox.sql(f"create role {role} login replication password 'p'", f"grant select on outbox to {role}")
    url = outbox.host.url(outbox.name, role, "p")
    assert outbox.start(source_url=url).exit_code() == 15
    outbox.sql(f"create publication {outbox.name}_pub for table outbox")
    outbox.insert(1, 2)
    running = outbox.start(source_url=url)
    running.until_rows(2)
    assert running.end() == 0
    outbox.sql(f"drop owned by {role}", f"drop role {role}")


@pytest.mark.parametrize("letters", [False, True])
def test_a_row_that_kafka_cannot_take_stops_or_becomes_a_dead_letter(outbox: Any, letters: bool) -> None:
    outbox.create_topic("t", **{"max.message.bytes": "2000"})
    dead = outbox.letters()
    running = outbox.start(
        dead_letter_topic=dead.topic, create_topics=False, dead_letter=dead.write if letters else None
    )
    running.until_ready()
    outbox.insert(1, 2)
    running.until_rows(2)
    poison = "insert into outbox (aggregatetype, aggregateid, payload) values "
    if not letters:
        outbox.sql(poison + "('bad name', 'k', '')")
        assert running.exit_code() == 20
        assert len(outbox.read(outbox.topic("t"))) == 2
        return
    outbox.sql(
        poison
        + "('bad name', 'k', ''), ('absent', 'k', ''), (null, 'k', ''), ('t', 'k', convert_to(repeat('x', 3000), 'utf8'))"
    )
    outbox.insert(3, 4)
    running.until_rows(8)
    assert len(outbox.read(outbox.topic("t"))) == 4
    reasons = [record.value().decode() for record in outbox.read(dead.topic)]
    assert [word in reason for word, reason in zip(("legal", "no topic", "null", "bytes"), reasons, strict=True)] == [
        True
    ] * 4
    assert running.metrics.dead_letters_total == 4
    assert running.end() == 0


def test_a_physical_slot_or_one_of_another_database_is_left_alone(outbox: Any) -> None:
    outbox.sql(f"select pg_create_physical_replication_slot('{outbox.name}')")
    assert outbox.start(resume="republish").exit_code() == 26
    outbox.sql(f"select pg_drop_replication_slot('{outbox.name}')")
    with psycopg.connect(outbox.host.url("postgres"), autocommit=True) as elsewhere:
        elsewhere.execute(f"select pg_create_logical_replication_slot('{outbox.name}', 'pgoutput')")
        assert outbox.start(forget_position=True).exit_code() == 26
        elsewhere.execute(f"select pg_drop_replication_slot('{outbox.name}')")


def test_resuming_at_the_slot_goes_on_behind_what_it_has_let_go(outbox: Any) -> None:
    run_once(outbox, resume="slot")
    outbox.insert(4, 5)
    outbox.sql("checkpoint", f"select pg_replication_slot_advance('{outbox.name}', pg_current_wal_lsn())")
    running = outbox.start(resume="slot").until_ready()
    outbox.insert(6, 7)
    running.until_rows(2)
    assert running.end() == 0
    assert sorted(int(record.value()) for record in outbox.read()) == [1, 2, 3, 6, 7]
    # What was stored meanwhile fits: no way out is needed any more.
    assert outbox.start().until_ready().end() == 0


def test_republishing_sends_the_table_again_only_where_the_start_would_be_refused(outbox: Any) -> None:
    run_once(outbox)
    assert outbox.start(resume="republish").until_ready().end() == 0
    assert len(outbox.read()) == 3
    outbox.until_slot_is_free()
    outbox.sql(f"select pg_drop_replication_slot('{outbox.name}')")
    assert outbox.start(resume="slot").exit_code() == 11
    running = outbox.start(resume="republish")
    running.until_rows(3)
    assert running.end() == 0
    assert sorted(int(record.value()) for record in outbox.read()) == [1, 1, 2, 2, 3, 3]
