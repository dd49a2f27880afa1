"""Measures the outbox connector: warm backlog, latency of a trickle, CPU and memory of its process.

`TALLY_KAFKA_BOOTSTRAP=… TALLY_TEST_POSTGRES_URL=… python -m bench.outbox [--rows N] [--rate N] [--seconds N]`
Servers are those that the two variables name. The connector runs as a process of its own; "warm" means that it is up,
frozen while the rows are written, and continued. Rows carry about 240 bytes of payload.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import psycopg
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient, NewTopic

from tally.local.databases import PostgresHost

COMMAND = "import sys; from connectors.outbox import main_standalone; sys.exit(main_standalone(sys.argv[1:]))"
TABLE = """create table outbox (id uuid primary key default gen_random_uuid(), aggregatetype text, aggregateid text,
type text, payload bytea, written_at timestamptz not null default clock_timestamp())"""
INSERT = """insert into outbox (aggregatetype, aggregateid, type, payload)
select 't', 'k' || (i %% 1000), 'T', convert_to(lpad(i::text, 240, '.'), 'utf8') from generate_series(%s::int, %s::int) i"""
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """CPU seconds used so far and resident memory of a process."""

    cpu_s: float
    resident_mb: float

    @classmethod
    def of(cls, pid: int) -> Usage:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        status = Path(f"/proc/{pid}/status").read_text()
        resident_kb = int(status.partition("VmHWM:")[2].split()[0])
        return cls((int(fields[11]) + int(fields[12])) / TICKS_PER_S, resident_kb / 1024)


class Bench:
    """A database, a topic and a connector of this run's own."""

    def __init__(self, bootstrap: str, host: PostgresHost) -> None:
        self.name, self.bootstrap, self.host = f"bench_{uuid.uuid4().hex[:8]}", bootstrap, host
        self.url = host.create_database(self.name)
        self.topic = f"{self.name}.t"
        self.admin = AdminClient({"bootstrap.servers": bootstrap})
        self.admin.create_topics([NewTopic(self.topic, 4, 1)])[self.topic].result(20)
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(TABLE)
        arguments = ["--source-url", self.url, "--bootstrap", bootstrap, "--slot", self.name]
        route = self.name + ".${routedByValue}"
        self.process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, *arguments, "--route", route], stderr=subprocess.DEVNULL
        )
        settings = {
            "bootstrap.servers": bootstrap,
            "group.id": self.name,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 5,
        }
        self.consumer = Consumer(settings | {"isolation.level": "read_committed", "enable.auto.commit": False})
        self.consumer.subscribe([self.topic])

    def read(self, rows: int) -> list[float]:
        """Reads so many records; Unix seconds at which each became visible."""
        seen: list[float] = []
        while len(seen) < rows:
            # One first, then what is there beside it: a consumer that waits for a thousand adds its own wait.
            records = self.consumer.consume(1, 30)
            if not records:
                raise SystemExit(f"{len(seen)} of {rows} rows after 30 s")
            records += self.consumer.consume(min(999, rows - len(seen) - 1), 0) if rows - len(seen) > 1 else []
            now = time.time()
            seen += [now] * len(records)
        return seen

    def backlog(self, rows: int, rows_a_transaction: int) -> str:
        self.process.send_signal(signal.SIGSTOP)
        # Loading is not what is measured, and must be over before the server misses the frozen process (60 s).
        with psycopg.connect(self.url, options="-c synchronous_commit=off") as connection:
            for first in range(1, rows + 1, rows_a_transaction):
                connection.execute(INSERT, (first, first + rows_a_transaction - 1))
                connection.commit()
        before, began = Usage.of(self.process.pid), time.time()
        self.process.send_signal(signal.SIGCONT)
        took_s = self.read(rows)[-1] - began
        after = Usage.of(self.process.pid)
        cpu_s = (after.cpu_s - before.cpu_s) * 100_000 / rows
        return (
            f"backlog {rows} rows, {rows_a_transaction} a transaction: {rows / took_s:,.0f} rows/s, "
            f"{cpu_s:.2f} CPU s per 100,000, {after.resident_mb:.0f} MB at most"
        )

    def trickle(self, rate: int, seconds: int) -> str:
        rows, committed = rate * seconds, []

        def write() -> None:
            began = time.monotonic()
            with psycopg.connect(self.url, autocommit=True) as connection:
                for number in range(rows):
                    time.sleep(max(0.0, began + number / rate - time.monotonic()))
                    connection.execute(INSERT, (number, number))
                    committed.append(time.time())

        before = Usage.of(self.process.pid)
        writer = threading.Thread(target=write)
        writer.start()
        seen = self.read(rows)
        writer.join()
        cpu_s = Usage.of(self.process.pid).cpu_s - before.cpu_s
        # Both lists are in commit order of one writer, but partitions are read side by side: pair by rank.
        waits_ms = sorted((visible - done) * 1000 for visible, done in zip(seen, committed, strict=True))
        figures = ", ".join(
            f"{name} {waits_ms[int(len(waits_ms) * part)]:.1f}" for name, part in (("p50", 0.5), ("p99", 0.99))
        )
        return f"latency at {rate} rows/s, COMMIT to visible: {figures} ms; {100 * cpu_s / seconds:.0f} % of a core"

    def close(self) -> None:
        self.consumer.close()
        # Perhaps it is frozen still.
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        self.host.drop_database(self.name)
        for future in self.admin.delete_topics([self.topic, f"connect-outbox-{self.name}-offsets"]).values():
            future.result(20)


def main() -> None:
    """Runs all and prints one line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rate", type=int, default=500)
    parser.add_argument("--seconds", type=int, default=10)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    bench = Bench(os.environ["TALLY_KAFKA_BOOTSTRAP"], PostgresHost(os.environ["TALLY_TEST_POSTGRES_URL"]))
    try:
        print(bench.trickle(50, 2), "(warm-up)")
        for rows_a_transaction in (1, 10, 100):
            print(bench.backlog(arguments.rows, rows_a_transaction))
        print(bench.trickle(arguments.rate, arguments.seconds))
        print(bench.backlog(arguments.rows * 10, arguments.rows * 10))
    finally:
        bench.close()


if __name__ == "__main__":
    main()
