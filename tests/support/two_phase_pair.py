"""Two databases that take part in one transaction, and what came of it in both."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from producers.store.connections import Pool
from producers.two_phase.coordinator import Coordinator
from producers.two_phase.decisions import Decisions
from producers.two_phase.postgres import PostgresParticipant
from producers.two_phase.recovery import Bounds, Recovery

AT_ONCE = Bounds(abandoned_after_s=0.0)
INSERT = "insert into commands (id, scope, body_hash, state) values (%s, 'two-phase', '', 'RUNNING')"


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

    def start(self, step: str, signal: int, *, is_refused: bool = False) -> tuple[subprocess.Popen[str], str]:
        """A coordinator that sends itself a signal at a step; the process and the id of the row that it writes."""
        id_ = str(uuid.uuid4())
        task = {"orders_url": self.orders_url, "payments_url": self.payments_url, "id": id_}
        task |= {"step": step, "signal": int(signal), "is_refused": is_refused}
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


def _has(pool: Pool, id_: str) -> bool:
    with pool.connection() as connection:
        return connection.execute("select 1 from commands where id = %s", (id_,)).fetchone() is not None
