"""What cleaning up costs the outbox connector: its rate, its latency and the table with and without, interleaved in one run.

`python -m bench.outbox_cleaning [--rows N] [--rounds N] [--seconds N]`; servers are those that TALLY_KAFKA_BOOTSTRAP and
TALLY_TEST_POSTGRES_URL name, else its own. Two connectors carry the same rows one after the other: a backlog at ten rows a
transaction, then 2,000 rows a second. The one that cleans up takes every published row out at once (`--clean-after 0`),
which is the most work that it can have. Rows carry 240 bytes of payload.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import psycopg
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient, NewTopic

from bench.servers import servers
from tally.local.databases import PostgresHost

CONNECTOR = "import sys; from connectors.outbox import main_standalone; sys.exit(main_standalone(sys.argv[1:]))"
TABLE = """create table outbox (id uuid primary key default gen_random_uuid(), aggregatetype text, aggregateid text,
type text, payload bytea, created_at timestamptz not null default clock_timestamp())"""
INSERT = """insert into outbox (aggregatetype, aggregateid, type, payload)
select 't', 'k' || (i %% 1000), 'T', convert_to(lpad(i::text, 240, '.'), 'utf8') from generate_series(%s::int, %s::int) i"""
FIGURES = """select n_live_tup, n_dead_tup, pg_total_relation_size('outbox') / 1e6, autovacuum_count
from pg_stat_user_tables where relname = 'outbox'"""
ROWS_A_TRANSACTION = 10
RATE = 2_000
CLEAN_WITHIN_S = 120.0
READ_WITHIN_S = 60.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Cleaned:
    """A database, a topic and a connector of this run's own, which cleans up or does not."""

    def __init__(self, bootstrap: str, host: PostgresHost, cleans: bool) -> None:
        self.cleans, self.host, self.name = cleans, host, f"bench_{uuid.uuid4().hex[:8]}"
        self.url, topic = host.create_database(self.name), f"{self.name}.t"
        admin = AdminClient({"bootstrap.servers": bootstrap})
        admin.create_topics([NewTopic(topic, 4, 1)])[topic].result(20)
        with psycopg.connect(self.url) as connection:
            connection.execute(TABLE)
        settings = {"bootstrap.servers": bootstrap, "group.id": self.name, "auto.offset.reset": "earliest"}
        settings |= {"isolation.level": "read_committed", "enable.auto.commit": "false"}
        self.consumer = Consumer(settings)
        self.consumer.subscribe([topic])
        given = ["--source-url", self.url, "--bootstrap", bootstrap, "--slot", self.name]
        given += ["--route", self.name + ".${routedByValue}", *(["--clean-after", "0"] if cleans else [])]
        self.process = subprocess.Popen([sys.executable, "-c", CONNECTOR, *given], stderr=subprocess.DEVNULL)

    def say(self, what: str) -> None:
        """Prints a line."""
        print(f"{'with' if self.cleans else 'without'} cleaning up: {what}", flush=True)

    def write(self, rows: int, rows_a_transaction: int) -> None:
        """Not what is measured, hence without waiting for the disk."""
        with psycopg.connect(self.url, options="-c synchronous_commit=off") as connection:
            for first in range(1, rows + 1, rows_a_transaction):
                connection.execute(INSERT, (first, first + rows_a_transaction - 1))
                connection.commit()

    def read(self, rows: int) -> list[float]:
        """Unix seconds at which each of so many records became visible."""
        seen: list[float] = []
        while len(seen) < rows:
            records = self.consumer.consume(1, READ_WITHIN_S)
            if not records:
                raise SystemExit(f"{len(seen)} of {rows} rows after {READ_WITHIN_S:.0f} s")
            records += self.consumer.consume(min(999, rows - len(seen) - 1), 0) if rows - len(seen) > 1 else []
            seen += [time.time()] * len(records)
        return seen

    def backlog(self, rows: int) -> float:
        """Rows a second of a connector that was frozen while they were written; says them."""
        self.process.send_signal(signal.SIGSTOP)
        self.write(rows, ROWS_A_TRANSACTION)
        before_s, began = self.cpu_s(), time.time()
        self.process.send_signal(signal.SIGCONT)
        pace = rows / (self.read(rows)[-1] - began)
        self.say(f"{pace:,.0f} rows/s, {(self.cpu_s() - before_s) * 100_000 / rows:.2f} CPU s per 100,000 rows")
        return pace

    def until_clean(self) -> None:
        """Waits until the table is empty; says how long, and what it cost this process."""
        before_s, began = self.cpu_s(), time.monotonic()
        with psycopg.connect(self.url, autocommit=True) as connection:
            while connection.execute("select 1 from outbox limit 1").fetchone():
                if time.monotonic() - began > CLEAN_WITHIN_S:
                    raise SystemExit(f"not clean after {CLEAN_WITHIN_S:.0f} s")
                time.sleep(0.05)
        self.say(f"empty {time.monotonic() - began:.1f} s later, {self.cpu_s() - before_s:.2f} CPU s of this process")

    def trickle(self, seconds: int) -> None:
        """Says the latency from COMMIT to visible at RATE rows a second, four a transaction."""
        committed: list[float] = []
        rows = RATE * seconds

        def write() -> None:
            began = time.monotonic()
            with psycopg.connect(self.url, autocommit=True) as connection:
                for number in range(0, rows, 4):
                    time.sleep(max(0.0, began + number / RATE - time.monotonic()))
                    connection.execute(INSERT, (number, number + 3))
                    committed.extend([time.time()] * 4)

        writer = threading.Thread(target=write)
        before_s = self.cpu_s()
        writer.start()
        seen = self.read(rows)
        writer.join()
        # Both lists are in commit order of one writer, but partitions are read side by side: pair by rank.
        waits_ms = sorted((visible - done) * 1000 for visible, done in zip(seen, committed, strict=True))
        p50, p99 = (waits_ms[int(len(waits_ms) * part)] for part in (0.5, 0.99))
        part = 100 * (self.cpu_s() - before_s) / seconds
        self.say(f"{RATE} rows/s, COMMIT to visible: p50 {p50:.1f}, p99 {p99:.1f} ms; {part:.1f} % of a core")

    def table(self) -> None:
        """Says what PostgreSQL says of the table."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("analyze outbox")
            row = connection.execute(FIGURES).fetchone()
        assert row is not None
        self.say(f"{row[0]:,} live and {row[1]:,} dead rows, {row[2]:.0f} MB, vacuumed {row[3]} times by itself")

    def cpu_s(self) -> float:
        """CPU seconds of the connector so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S

    def close(self) -> None:
        """Ends the connector, frozen or not."""
        self.consumer.close()
        for number in (signal.SIGCONT, signal.SIGTERM):
            self.process.send_signal(number)
        self.process.wait(30)
        self.host.drop_database(self.name)


def _measure(both: Sequence[Cleaned], rows: int, rounds: int, seconds: int) -> None:
    paces: dict[bool, list[float]] = {True: [], False: []}
    for one in both:
        one.write(100, 1)
        one.read(100)
    for turn in range(rounds):
        for one in both if turn % 2 else reversed(both):
            paces[one.cleans].append(one.backlog(rows))
            if one.cleans:
                one.until_clean()
            one.table()
    print(f"median pace with / without: {statistics.median(paces[True]) / statistics.median(paces[False]):.2f}")
    for one in both:
        one.trickle(seconds)
        one.table()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs all and prints one line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=10)
    arguments = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with servers() as (bootstrap, host):
        both = [Cleaned(bootstrap, host, cleans) for cleans in (False, True)]
        try:
            _measure(both, arguments.rows, arguments.rounds, arguments.seconds)
        finally:
            for one in both:
                one.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
