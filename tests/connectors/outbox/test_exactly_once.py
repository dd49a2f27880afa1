"""Exactly once under real faults: kills, a lost walsender, a database restart, a second process, an idle table."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from connectors.outbox.positions import parse_position
from connectors.outbox.stored import read_stored_position
from tally.local.postgres import Postgres

AGGREGATES = 7


class Writer:
    """Commits small transactions of rows as fast as `rest_s` allows; every tenth is rolled back."""

    def __init__(self, url: str, rest_s: float = 0.002) -> None:
        self.url, self.rest_s = url, rest_s
        self.committed: list[int] = []
        self.rolled_back: list[int] = []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._write, daemon=True)
        self.thread.start()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        self.stop.set()
        self.thread.join()

    def _write(self) -> None:
        number, turn, draw = 0, 0, random.Random(7)
        while not self.stop.is_set():
            try:
                with psycopg.connect(self.url) as connection:
                    while not self.stop.is_set():
                        turn += 1
                        versions = list(range(number + 1, number + 1 + draw.randint(1, 8)))
                        number = versions[-1]
                        for version in versions:
                            connection.execute(
                                "insert into outbox (aggregatetype, aggregateid, payload, version) values ('t', %s, %s, %s)",
                                (f"k{version % AGGREGATES}", str(version).encode(), version),
                            )
                        if turn % 10 == 0:
                            connection.rollback()
                            self.rolled_back += versions
                        else:
                            connection.commit()
                            self.committed += versions
                        self.stop.wait(self.rest_s)
            except psycopg.OperationalError:
                self.stop.wait(0.1)


def assert_exactly_once(outbox: Any, records: list[Any]) -> None:
    """What the table holds came once, nothing else came, and each aggregate's rows are in order."""
    in_table = [row[0] for row in outbox.sql("select version from outbox")]
    seen = [int(record.value()) for record in records]
    assert [number for number, count in Counter(seen).items() if count > 1] == [], "copies"
    assert set(in_table) - set(seen) == set(), "lost"
    assert set(seen) - set(in_table) == set(), "never committed"
    by_key = defaultdict(list)
    for record in records:
        by_key[record.key()].append(int(record.value()))
    for versions in by_key.values():
        assert versions == sorted(versions)


def assert_slot_not_ahead(outbox: Any) -> None:
    # First the slot: one that runs goes on meanwhile.
    confirmed = outbox.sql(
        f"select confirmed_flush_lsn::text from pg_replication_slots where slot_name = '{outbox.name}'"
    )
    outbox.until_none_open(outbox.config().positions_topic)
    stored = read_stored_position(outbox.config())
    assert stored is not None
    assert parse_position(confirmed[0][0]) <= stored.position


def kill_loop(outbox: Any, kills: int, seed: int) -> None:
    draw = random.Random(seed)
    print(f"seed {seed}")
    # Rows from before the slot come as they lie, not as they were committed: where one was rolled back there is room for
    # a later one. So the first start is over when they are written; kills of it are in `test_kills_at_steps`.
    assert outbox.start().until_ready().end() == 0
    process = outbox.spawn()
    with Writer(outbox.url) as writer:
        for _ in range(kills):
            time.sleep(draw.uniform(0.3, 1.8))  # the moment of the kill is the random input
            assert process.poll() is None, process.stderr.read().decode()
            process.send_signal(signal.SIGKILL)
            process.wait()
            process = outbox.spawn()
        time.sleep(0.5)
    records = outbox.until_read(len(outbox.sql("select 1 from outbox")), outbox.topic("t"))
    assert len(writer.committed) > 100
    assert len(writer.rolled_back) > 10
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert_exactly_once(outbox, records)
    assert_slot_not_ahead(outbox)


def test_every_committed_row_comes_exactly_once_whatever_is_killed(outbox: Any) -> None:
    outbox.create_topic("t")
    kill_loop(outbox, kills=6, seed=20_261_124)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(5))
def test_every_committed_row_comes_exactly_once_in_a_long_loop_of_kills(outbox: Any, seed: int) -> None:
    outbox.create_topic("t")
    kill_loop(outbox, kills=20, seed=seed)


def test_a_kill_inside_one_large_transaction_leaves_no_copies(outbox: Any) -> None:
    outbox.create_topic("t")
    process = outbox.spawn()
    outbox.insert(1, 1)
    outbox.until_read(1, outbox.topic("t"))
    outbox.sql(
        "insert into outbox (aggregatetype, aggregateid, payload, version) "
        f"select 't', 'k' || i % {AGGREGATES}, convert_to(i::text, 'utf8'), i from generate_series(2, 150000) i"
    )
    for _ in range(2):
        time.sleep(0.5)  # into the middle of it, or of the start
        process.send_signal(signal.SIGKILL)
        process.wait()
        process = outbox.spawn()
    assert_exactly_once(outbox, outbox.until_read(150_000, outbox.topic("t")))


def test_a_lost_walsender_is_mended_at_once(outbox: Any, wait_until: Callable[..., Any]) -> None:
    outbox.create_topic("t")
    running = outbox.start().until_ready()
    with Writer(outbox.url) as writer:
        for turn in range(1, 4):
            outbox.sql(
                f"select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '{outbox.name}'"
            )
            wait_until(
                lambda turn=turn: running.metrics.reconnects_total >= turn and running.metrics.ready, "streaming again"
            )
    assert_exactly_once(outbox, outbox.until_read(len(set(writer.committed)), outbox.topic("t")))
    assert running.end() == 0


def test_a_killed_database_is_waited_for(
    tmp_path_factory: pytest.TempPathFactory, kafka: str, outbox_on: Any, wait_until: Any
) -> None:
    folder: Path = tmp_path_factory.mktemp("own_postgres")
    folder.chmod(0o755)
    server = Postgres(folder, durable=False)
    server.start()
    writer: Writer | None = None
    try:
        outbox = outbox_on(server.host)
        outbox.create_topic("t")
        running = outbox.start().until_ready()
        writer = Writer(outbox.url)
        running.until_rows(50)
        os.kill(server.pid, signal.SIGKILL)
        wait_until(lambda: not running.metrics.ready, "noticed")
        wait_until(lambda: server.exit_code is not None, "the server's end")
        again = Postgres(folder, port=server.port, durable=False)
        again.start()
        try:
            wait_until(lambda: running.metrics.ready, "streaming again")
            rows = running.metrics.rows_total
            running.until_rows(rows + 50)
            writer.end()
            assert_exactly_once(outbox, outbox.until_read(len(outbox.sql("select 1 from outbox")), outbox.topic("t")))
            assert running.end() == 0
            outbox.close()
        finally:
            running.stop.set()
            again.stop()
    finally:
        if writer is not None:
            writer.end()
        server.stop()


def test_a_second_process_takes_over_and_the_first_ends(outbox: Any) -> None:
    outbox.create_topic("t")
    first = outbox.spawn()
    outbox.insert(0, 0)
    outbox.until_read(1, outbox.topic("t"))
    with Writer(outbox.url):
        second = outbox.spawn()
        assert first.wait(60) == 30
    records = outbox.until_read(len(outbox.sql("select 1 from outbox")), outbox.topic("t"))
    assert second.poll() is None
    assert_exactly_once(outbox, records)


def test_a_frozen_predecessor_loses_the_slot_and_finds_itself_fenced(outbox: Any) -> None:
    outbox.create_topic("t")
    first = outbox.spawn()
    outbox.insert(1, 1)
    outbox.until_read(1, outbox.topic("t"))
    first.send_signal(signal.SIGSTOP)
    outbox.spawn()
    outbox.insert(2, 3)
    outbox.until_read(3, outbox.topic("t"))
    first.send_signal(signal.SIGCONT)
    outbox.insert(4, 5)
    assert first.wait(60) == 30
    assert_exactly_once(outbox, outbox.until_read(5, outbox.topic("t")))


def test_an_idle_outbox_does_not_hold_the_log_back(outbox: Any, wait_until: Callable[..., Any]) -> None:
    running = outbox.start(advance_every_s=0.2).until_ready()
    outbox.sql("create table other (content text)")
    outbox.sql("insert into other select repeat('x', 500) from generate_series(1, 20000)")
    end = parse_position(outbox.sql("select pg_current_wal_lsn()::text")[0][0])
    confirmed = f"select confirmed_flush_lsn::text from pg_replication_slots where slot_name = '{outbox.name}'"
    wait_until(lambda: parse_position(outbox.sql(confirmed)[0][0]) >= end, "confirmed")
    assert_slot_not_ahead(outbox)
    assert running.end() == 0


def test_a_partitioned_outbox_is_published_by_its_root(bare_outbox: Any) -> None:
    bare_outbox.sql(
        "create table outbox (id uuid default gen_random_uuid(), aggregatetype text, aggregateid text, type text, payload bytea,"
        " version bigint, primary key (id, version)) partition by range (version)",
        "create table outbox_1 partition of outbox for values from (0) to (3)",
        "create table outbox_2 partition of outbox for values from (3) to (100)",
    )
    bare_outbox.insert(1, 4)
    running = bare_outbox.start().until_ready()
    bare_outbox.insert(5, 8, rows_a_transaction=2)
    running.until_rows(8)
    assert_exactly_once(bare_outbox, bare_outbox.read(bare_outbox.topic("t")))
    assert running.end() == 0


def test_a_batch_that_kafka_refuses_is_tried_again_with_the_row_set_aside(
    outbox: Any, wait_until: Callable[..., Any]
) -> None:
    """The topic's limit is lowered behind the connector's back, so that its own check lets the row pass."""
    from_dead = outbox.letters()
    outbox.create_topic("t", 1)
    running = outbox.start(
        create_topics=False, dead_letter_topic=from_dead.topic, dead_letter=from_dead.write
    ).until_ready()
    outbox.insert(1, 2)
    running.until_rows(2)
    outbox.limit_topic("t", 1_000)
    outbox.sql(
        "insert into outbox (aggregatetype, aggregateid, payload) values ('t', 'k', convert_to(repeat('x', 3000), 'utf8'))"
    )
    outbox.insert(3, 4)
    running.until_rows(5)
    assert [int(record.value()) for record in outbox.read(outbox.topic("t"))] == [1, 2, 3, 4]
    assert len(outbox.read(from_dead.topic)) == 1
    assert running.metrics.aborts_total >= 1
    assert running.end() == 0
