"""Two databases that take part in one transaction, and what came of it in both."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from producers.store.connections import Pool
from producers.two_phase.coordinator import Coordinator
from producers.two_phase.decisions import Decisions
from producers.two_phase.participant import Outcome
from producers.two_phase.postgres import PostgresParticipant
from producers.two_phase.recovery import Bounds, Recovery
from tally.local.databases import ServiceDatabase
from tally.local.postgres import Postgres

AT_ONCE = Bounds(abandoned_after_s=0.0)
INSERT = "insert into commands (id, scope, body_hash, state) values (%s, 'two-phase', '', 'RUNNING')"


# What a test begins without, by service.
EMPTIED = {
    "orders": "heads, outbox, commands, sink_positions, wallet_orders, two_phase_markers, two_phase_decisions",
    "payments": "heads, outbox, commands, sink_positions, attempts, two_phase_markers",
}


def emptied(service: str, database: ServiceDatabase) -> ServiceDatabase:
    """The database of a service without rows.

    Markers and decisions go together: markers whose decisions lie in a database that went away would be damage.
    """
    with psycopg.connect(database.owner_url) as connection:
        connection.execute(f"truncate {EMPTIED[service]}".encode())
    return database


@dataclass(frozen=True)
class OwnServer:
    """A server that a test may kill, with the databases of all services."""

    server: Postgres
    databases: dict[str, ServiceDatabase]

    def kill_and_restart(self) -> None:
        """As by a crash of the machine's process; ready again when it returns."""
        self.server.kill()
        self.restart()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Its kernel still accepts and acknowledges, and nobody answers, as where a machine's disk hangs."""
        pids = _family(self.server.pid)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def emptied(self, service: str) -> ServiceDatabase:
        """The database of a service, without rows."""
        return emptied(service, self.databases[service])

    def back_up(self) -> Path:
        """A cold copy of all that it has now; ready again when it returns."""
        data = self.server.place.data
        copy = data.with_name("postgres.backup")
        self.server.stop()
        subprocess.run(["cp", "-a", str(data), str(copy)], check=True)
        self.restart()
        return copy

    def restore(self, copy: Path) -> None:
        """Puts a copy, which is gone then, in the place of what it has; ready when it returns."""
        self.server.stop()
        shutil.rmtree(self.server.place.data)
        copy.rename(self.server.place.data)
        self.restart()

    def restart(self) -> None:
        """Starts it; ready when it returns."""
        self.server.launch()
        self.server.wait_ready()


@dataclass
class Pair:
    """Orders and payments as participants; every row is written in both or in none."""

    orders_url: str
    payments_url: str
    orders_pool: Pool
    payments_pool: Pool
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def decisions(self) -> Decisions:
        return Decisions(self.orders_pool)

    @property
    def participants(self) -> dict[str, PostgresParticipant]:
        return {
            "orders": PostgresParticipant("orders", self.orders_pool),
            "payments": PostgresParticipant("payments", self.payments_pool),
        }

    def coordinator(self) -> Coordinator:
        return Coordinator(self.decisions.begin_life("test"), self.decisions, self.participants)

    def recovery(self) -> Recovery:
        return Recovery(self.decisions.begin_life("test"), self.decisions, self.participants, AT_ONCE)

    def start(self, step: str, number: int, *, is_refused: bool = False) -> tuple[subprocess.Popen[str], str]:
        """A coordinator that sends itself a signal at a step; the process and the id of the row that it writes."""
        id_ = str(uuid.uuid4())
        task = {"orders_url": self.orders_url, "payments_url": self.payments_url, "id": id_}
        task |= {"step": step, "signal": int(number), "is_refused": is_refused}
        script = Path(__file__).with_name("two_phase_coordinator.py")
        process = subprocess.Popen([sys.executable, str(script), json.dumps(task)], stdout=subprocess.PIPE, text=True)
        self.processes.append(process)
        return process, id_

    def there(self, id_: str) -> tuple[bool, bool]:
        """Whether orders and payments have the row."""
        return _has(self.orders_pool, id_), _has(self.payments_pool, id_)

    def prepared(self) -> list[str]:
        """What is prepared in either."""
        return [str(found.identifier) for there in self.participants.values() for found in there.prepared()]

    def settle(self) -> None:
        """One pass of recovery, after which nothing is open."""
        self.recovery().run_pass()
        assert self.prepared() == []
        assert self.decisions.open() == []
        assert self.decisions.damaged() == []


@dataclass
class Apart:
    """A pair of which one database lies on a server of its own."""

    own: OwnServer
    pair: Pair

    @property
    def server(self) -> Postgres:
        return self.own.server


@contextmanager
def ending(pair: Pair) -> Iterator[Pair]:
    """Whatever a test leaves running or prepared is gone afterwards."""
    try:
        yield pair
    finally:
        for process in pair.processes:
            process.kill()
            process.communicate()
        for participant in pair.participants.values():
            for prepared in participant.prepared():
                participant.resolve(prepared.identifier, Outcome.ABORT)


def until_stopped(process: subprocess.Popen[str]) -> None:
    """Waits until a process has stopped itself."""
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)


def _family(pid: int) -> list[int]:
    """A process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def _has(pool: Pool, id_: str) -> bool:
    with pool.connection() as connection:
        return connection.execute("select 1 from commands where id = %s", (id_,)).fetchone() is not None
