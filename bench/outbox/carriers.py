"""Who carries: our connector or the relay as a process with a database and a topic of its own, and what that costs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import psycopg
from confluent_kafka.admin import AdminClient, NewTopic

from bench.outbox.visible import Visible
from tally.local.databases import PostgresHost

CONNECTOR = "connectors.alone"
TABLE = """create table outbox (id uuid primary key default gen_random_uuid(), aggregatetype text, aggregateid text,
type text, payload bytea, written_at timestamptz not null default clock_timestamp(), number bigserial,
published boolean not null default false)"""
# Only the relay needs it, and it would be slower without.
INDEX = "create index on outbox (number) where not published"
ROWS = """insert into outbox (aggregatetype, aggregateid, type, payload)
select 't', 'k' || (i % 1000), 'T', convert_to(lpad(i::text, 240, '.'), 'utf8') from generate_series"""
INSERT = ROWS.replace("%", "%%") + "(%s::int, %s::int) i"
# In the server, as a client would need longer than it lets a frozen reader be (60 s).
LOAD = "do $$ begin for n in 0..{last} by {step} loop " + ROWS + "(n, n + {step} - 1) i; commit; end loop; end $$"
PARTITIONS = 4
END_WITHIN_S = 30
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds used so far and the highest resident memory of a process."""

    cpu_s: float
    resident_mb: float

    @classmethod
    def of(cls, pid: int) -> Usage:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        resident_kb = int(Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0])
        return cls((int(fields[11]) + int(fields[12])) / _TICKS_PER_S, resident_kb / 1024)


class Carrier(ABC):
    """One process, started when it is made. `command` gives its command line."""

    kind = ""
    # What the table has beside for this kind.
    beside_table: tuple[str, ...] = ()

    def __init__(self, bootstrap: str, host: PostgresHost) -> None:
        self.name = f"bench_{uuid.uuid4().hex[:8]}"
        self.bootstrap, self.host = bootstrap, host
        self.url = host.create_database(self.name)
        self.topic = f"{self.name}.t"
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})
        self._admin.create_topics([NewTopic(self.topic, PARTITIONS, 1)])[self.topic].result(20)
        self.visible = Visible(bootstrap, self._admin, self.topic, PARTITIONS)
        self.execute(TABLE, *self.beside_table)
        self.launch()

    @abstractmethod
    def command(self) -> list[str]:
        """The process's command line, behind that of Python."""

    def own_topics(self) -> list[str]:
        return []

    def launch(self) -> None:
        # What is installed is compiled already, whatever is said of new files here.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        command = [sys.executable, *self.command()]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)

    def execute(self, *statements: str) -> None:
        """Each in a transaction of its own."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def insert(self, first: int, last: int) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(INSERT, (first, last))

    def load(self, rows: int, rows_a_transaction: int) -> None:
        """Writing is not what is measured."""
        self.execute("set synchronous_commit = off", LOAD.format(last=rows - 1, step=rows_a_transaction))

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> float:
        """Unix seconds at which it goes on."""
        now = time.time()
        self.process.send_signal(signal.SIGCONT)
        return now

    def usage(self) -> Usage:
        return Usage.of(self.process.pid)

    def close(self) -> None:
        self.visible.close()
        # Perhaps it is frozen still.
        for number in (signal.SIGCONT, signal.SIGTERM):
            self.process.send_signal(number)
        try:
            self.process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.host.drop_database(self.name)
        for future in self._admin.delete_topics([self.topic, *self.own_topics()]).values():
            future.result(20)


class Connector(Carrier):
    """Ours, exactly once."""

    kind = "connector"

    def command(self) -> list[str]:
        given = ["--source-url", self.url, "--bootstrap", self.bootstrap, "--slot", self.name]
        return ["-m", CONNECTOR, *given, "--route", self.name + ".${routedByValue}"]

    def own_topics(self) -> list[str]:
        return [f"connect-outbox-{self.name}-{kind}" for kind in ("offsets", "waiting")]

    def lose_walsender(self) -> None:
        self.execute(
            f"select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '{self.name}'"
        )


class Relay(Carrier):
    """Ten lines of polling, at least once."""

    kind = "relay"
    beside_table = (INDEX,)

    def command(self) -> list[str]:
        return ["-m", "bench.outbox.relay", self.url, self.bootstrap, self.name]


class Polling(Carrier):
    """Ours without the log: the columns are those that it prints, but for the number, which the table has."""

    kind = "polling"

    beside_table = (
        "alter table outbox add column status text not null default 'PENDING', add column status_reason text,"
        " add column status_letter bytea",
        "create index on outbox (number) where status = 'PENDING'",
        "create index on outbox (number) where status = 'FAILED'",
    )

    def command(self) -> list[str]:
        given = ["--source-url", self.url, "--bootstrap", self.bootstrap, "--polling", "--connector-name", self.name]
        return ["-m", CONNECTOR, *given, "--route", self.name + ".${routedByValue}"]

    def own_topics(self) -> list[str]:
        own = f"connect-outbox-{self.name}-"
        return [name for name in self._admin.list_topics(timeout=END_WITHIN_S).topics if name.startswith(own)]
