"""Measures the outbox connectors, of the log and polling, beside a polling relay: backlog, latency, CPU, memory, faults.

`python -m bench.outbox [--rows N] [--seconds N] [--million] [--contenders KIND…]`; servers are those that TALLY_KAFKA_BOOTSTRAP and
TALLY_TEST_POSTGRES_URL name, else its own. Each carrier is a process with a database and a topic of its own on the same
servers; "warm" means that it is up, frozen while the rows are written, and continued. Rows carry 240 bytes of payload.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psycopg
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient, NewTopic

from tally.local.databases import PostgresHost
from tally.local.kafka import Kafka
from tally.local.postgres import Postgres

CONNECTOR = "import sys; from connectors.outbox import main_standalone; sys.exit(main_standalone(sys.argv[1:]))"
TABLE = """create table outbox (id uuid primary key default gen_random_uuid(), aggregatetype text, aggregateid text,
type text, payload bytea, written_at timestamptz not null default clock_timestamp(), number bigserial,
published boolean not null default false)"""
# Only who polls needs these, and would be slower without. The polling connector's are those that it prints, but for the number.
COLUMNS_BY_KIND = {
    "relay": ("create index on outbox (number) where not published",),
    "polling": (
        "alter table outbox add column status text not null default 'PENDING', add column status_reason text, "
        "add column status_letter bytea",
        "create index on outbox (number) where status = 'PENDING'",
        "create index on outbox (number) where status = 'FAILED'",
    ),
}
INSERT = """insert into outbox (aggregatetype, aggregateid, type, payload)
select 't', 'k' || (i %% 1000), 'T', convert_to(lpad(i::text, 240, '.'), 'utf8') from generate_series(%s::int, %s::int) i"""
Kind = Literal["connector", "polling", "relay"]
KINDS: tuple[Kind, ...] = ("connector", "polling", "relay")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
IDLE_S = 10
FAULTS = 5


@dataclass(frozen=True)
class Usage:
    """CPU seconds used so far and the highest resident memory of a process."""

    cpu_s: float
    resident_mb: float

    @classmethod
    def of(cls, pid: int) -> Usage:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        resident_kb = int(Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0])
        return cls((int(fields[11]) + int(fields[12])) / TICKS_PER_S, resident_kb / 1024)


class Bench:
    """A database, a topic and a carrier of this run's own."""

    def __init__(self, bootstrap: str, host: PostgresHost, kind: Kind) -> None:
        self.kind, self.name = kind, f"bench_{uuid.uuid4().hex[:8]}"
        self.bootstrap, self.host = bootstrap, host
        self.url = host.create_database(self.name)
        self.topic = f"{self.name}.t"
        self.admin = AdminClient({"bootstrap.servers": bootstrap})
        self.admin.create_topics([NewTopic(self.topic, 4, 1)])[self.topic].result(20)
        self.execute(TABLE, *COLUMNS_BY_KIND.get(kind, ()))
        settings = {"bootstrap.servers": bootstrap, "group.id": self.name, "auto.offset.reset": "earliest"}
        settings |= {"fetch.wait.max.ms": "5", "isolation.level": "read_committed", "enable.auto.commit": "false"}
        self.consumer = Consumer(settings)
        self.consumer.subscribe([self.topic])
        self.launch()

    def launch(self) -> None:
        if self.kind == "relay":
            command = ["-m", "bench.outbox_relay", self.url, self.bootstrap, self.name]
        else:
            given = ["--source-url", self.url, "--bootstrap", self.bootstrap]
            given += ["--slot", self.name] if self.kind == "connector" else ["--polling", "--connector-name", self.name]
            command = ["-c", CONNECTOR, *given, "--route", self.name + ".${routedByValue}"]
        self.process = subprocess.Popen([sys.executable, *command], stderr=subprocess.DEVNULL)

    def execute(self, *statements: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def insert(self, first: int, last: int) -> None:
        with psycopg.connect(self.url) as connection:
            connection.execute(INSERT, (first, last))

    def read(self, rows: int) -> list[float]:
        """Reads so many records; Unix seconds at which each became visible."""
        seen: list[float] = []
        while len(seen) < rows:
            # One first, then what is there beside it: a consumer that waits for a thousand adds its own wait.
            records = self.consumer.consume(1, 30)
            if not records:
                raise SystemExit(f"{len(seen)} of {rows} rows after 30 s")
            records += self.consumer.consume(min(999, rows - len(seen) - 1), 0) if rows - len(seen) > 1 else []
            seen += [time.time()] * len(records)
        return seen

    def backlog(self, rows: int, rows_a_transaction: int) -> float:
        """Rows a second; prints them."""
        self.process.send_signal(signal.SIGSTOP)
        # Loading is not what is measured, and must be over before the server misses the frozen process (60 s).
        with psycopg.connect(self.url, options="-c synchronous_commit=off") as connection:
            for first in range(1, rows + 1, rows_a_transaction):
                connection.execute(INSERT, (first, first + rows_a_transaction - 1))
                connection.commit()
        before, began = Usage.of(self.process.pid), time.time()
        self.process.send_signal(signal.SIGCONT)
        pace = rows / (self.read(rows)[-1] - began)
        after = Usage.of(self.process.pid)
        cpu_s = (after.cpu_s - before.cpu_s) * 100_000 / rows
        print(
            f"{self.kind}: backlog of {rows:,} rows, {rows_a_transaction:,} a transaction: {pace:,.0f} rows/s, "
            f"{cpu_s:.2f} CPU s per 100,000, {after.resident_mb:.0f} MB at most",
            flush=True,
        )
        return pace

    def trickle(self, rate: int, seconds: int, rows_a_transaction: int = 1) -> str:
        """Latency at `rate` rows a second, and what it costs."""
        committed: list[float] = []
        rows = rate * seconds

        def write() -> None:
            began = time.monotonic()
            with psycopg.connect(self.url, autocommit=True) as connection:
                for number in range(0, rows, rows_a_transaction):
                    time.sleep(max(0.0, began + number / rate - time.monotonic()))
                    connection.execute(INSERT, (number, number + rows_a_transaction - 1))
                    committed.extend([time.time()] * rows_a_transaction)

        before, writer = Usage.of(self.process.pid), threading.Thread(target=write)
        writer.start()
        seen = self.read(rows)
        writer.join()
        cpu_s = Usage.of(self.process.pid).cpu_s - before.cpu_s
        # Both lists are in commit order of one writer, but partitions are read side by side: pair by rank.
        waits_ms = sorted((visible - done) * 1000 for visible, done in zip(seen, committed, strict=True))
        p50, p99 = (waits_ms[int(len(waits_ms) * part)] for part in (0.5, 0.99))
        return (
            f"{self.kind}: {rate} rows/s, {rows_a_transaction} a transaction, COMMIT to visible: p50 {p50:.1f}, "
            f"p99 {p99:.1f} ms; {100 * cpu_s / seconds:.1f} % of a core"
        )

    def idle(self) -> str:
        before = Usage.of(self.process.pid).cpu_s
        time.sleep(IDLE_S)
        return f"{self.kind}: idle, {100 * (Usage.of(self.process.pid).cpu_s - before) / IDLE_S:.1f} % of a core"

    def first_row_after_start(self) -> float:
        """Seconds from an orderly start to the first row, which waits there."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        self.insert(1, 1)
        began = time.time()
        self.launch()
        return self.read(1)[0] - began

    def back_after_kill(self) -> float:
        """Seconds from the new start after kill -9 under load to the first new row."""
        self.insert(1, 1_000)
        self.process.kill()
        self.process.wait()
        began = time.time()
        self.launch()
        self.insert(1, 1)
        return self.read(1_001)[-1] - began

    def back_after_lost_walsender(self) -> float:
        """Seconds from the end of the walsender to a row committed just after it."""
        began = time.time()
        self.execute(
            f"select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '{self.name}'"
        )
        self.insert(1, 1)
        return self.read(1)[0] - began

    def close(self) -> None:
        self.consumer.close()
        # Perhaps it is frozen still.
        for number in (signal.SIGCONT, signal.SIGTERM):
            self.process.send_signal(number)
        self.process.wait(30)
        self.host.drop_database(self.name)
        topics = self.admin.list_topics(timeout=20).topics
        own = [name for name in topics if name.startswith(f"connect-outbox-{self.name}-")]
        for future in self.admin.delete_topics([self.topic, *own]).values():
            future.result(20)


@contextmanager
def _servers() -> Iterator[tuple[str, PostgresHost]]:
    bootstrap, url = os.environ.get("TALLY_KAFKA_BOOTSTRAP"), os.environ.get("TALLY_TEST_POSTGRES_URL")
    if bootstrap and url:
        yield bootstrap, PostgresHost(url)
        return
    with tempfile.TemporaryDirectory(prefix="tally-bench-") as folder:
        Path(folder).chmod(0o755)
        kafka, postgres = Kafka(Path(folder)), Postgres(Path(folder))
        try:
            kafka.start()
            postgres.start()
            yield kafka.bootstrap, postgres.host
        finally:
            kafka.stop()
            postgres.stop()


def _measure(benches: dict[Kind, Bench], rows: int, seconds: int, million: bool) -> None:
    for bench in benches.values():
        bench.trickle(50, 2)
    for rows_a_transaction in (1, 10, 100):
        paces = {kind: bench.backlog(rows, rows_a_transaction) for kind, bench in benches.items()}
        for kind in paces.keys() - {"relay"} if "relay" in paces else ():
            ratio = paces[kind] / paces["relay"]
            print(f"{kind} to relay at {rows_a_transaction} rows a transaction: {ratio:.1f}", flush=True)
    for rate in (500, 2_000):
        for bench in benches.values():
            print(bench.trickle(rate, seconds, rate // 500), flush=True)
    for bench in benches.values():
        print(bench.idle(), flush=True)
    if "connector" in benches:
        _measure_connector(benches["connector"], million)
    print("Debezium: peer absent")


def _measure_connector(connector: Bench, million: bool) -> None:
    """What is promised of the connector of the log alone."""
    if million:
        connector.backlog(1_000_000, 1_000_000)
    for what, measure in (
        ("first row after a start", connector.first_row_after_start),
        ("first new row after kill -9", connector.back_after_kill),
        ("a row after a lost walsender", connector.back_after_lost_walsender),
    ):
        took = [measure() for _ in range(FAULTS)]
        print(
            f"connector: {what}: median {statistics.median(took):.2f} s of {FAULTS}, worst {max(took):.2f}", flush=True
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs all and prints one line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--million", action="store_true", help="one transaction of a million rows too")
    parser.add_argument("--contenders", nargs="+", choices=KINDS, default=KINDS)
    arguments = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with _servers() as (bootstrap, host), ExitStack() as closing:
        benches = {}
        for kind in arguments.contenders:
            benches[kind] = Bench(bootstrap, host, kind)
            closing.callback(benches[kind].close)
        _measure(benches, arguments.rows, arguments.seconds, arguments.million)
    return 0


if __name__ == "__main__":
    sys.exit(main())
