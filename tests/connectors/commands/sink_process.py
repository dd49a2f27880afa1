"""A command sink as a process: `sink_process.py BOOTSTRAP DATABASE_URL TOPIC INSTANCE SESSION_TIMEOUT_MS PARKED_ROWS_MAX`."""

from __future__ import annotations

import os
import signal
import sys
from threading import Event

from prometheus_client import CollectorRegistry

from connectors.commands import CommandSink, SinkConfig, SinkMetrics
from connectors.commands.config import ParkedBounds
from connectors.commands.handler import Connection
from connectors.probes import Health
from schemas.codec import AvroCodec
from schemas.envelope import Message
from schemas.errors import Conflict
from tally import logs


class Recording:
    """Locks the head of the key and writes one row; asks for trouble where the reason says so."""

    def __init__(self) -> None:
        self._tries: dict[str, int] = {}

    def handle(self, connection: Connection, command: Message) -> None:
        key, seq = command.envelope.subject, int(command.body.reason)
        connection.execute("select 1 from busy where key = %s for update", [key])
        connection.execute("insert into effects (key, seq, worker) values (%s, %s, %s)", [key, seq, os.getpid()])
        if key.startswith("poison") and not connection.execute("select 1 from busy where key = 'mended'").fetchone():
            raise ValueError("the handler cannot have it")
        tried = self._tries[command.envelope.id] = self._tries.get(command.envelope.id, 0) + 1
        if key.startswith("conflict") and tried < 4:
            raise Conflict("orders", key, seq)


def main() -> None:
    bootstrap, database_url, topic, instance, session_timeout_ms, rows_max = sys.argv[1:]
    logs.configure("sink-tests")
    stop = Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    config = SinkConfig(
        service="tests",
        topic=topic,
        bootstrap=bootstrap,
        database_url=database_url,
        acts_topic=f"{topic}.acts",
        group=f"group-{topic}",
        instance=instance,
        parked=ParkedBounds(rows_max=int(rows_max)),
        session_timeout_ms=int(session_timeout_ms),
    )
    CommandSink(config, Recording(), AvroCodec(), SinkMetrics(CollectorRegistry())).run(stop, Health())


if __name__ == "__main__":
    main()
