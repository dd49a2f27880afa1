"""The table of our processes: what the supervisor starts, with which settings, and how each is asked if it is ready."""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tally.local.child import Child, Command
from tally.local.errors import LocalError
from tally.local.ports import HOST, is_free
from tally.settings import PREFIX

STOP_WITHIN_S = 10.0
PROBE_WITHIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One row: `python -m <module> <arguments> <port_flag> PORT`, given the settings `needs` and no others.

    `address_setting` is the setting by which others are told its address, where they are.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    needs: tuple[str, ...]
    port_flag: str = "--probe-port"
    address_setting: str | None = None


TABLE = (
    Entry("payment-sandbox", "producers", ("payment-sandbox",), (), "--port", "payment_provider_url"),
    Entry(
        "api",
        "producers",
        ("api",),
        ("kafka_bootstrap", "orders_database_url", "customers_database_url", "payments_database_url", "redis_url"),
        "--port",
        "api_url",
    ),
    Entry("connector-orders", "connectors", ("outbox", "orders"), ("kafka_bootstrap", "orders_replication_url")),
    Entry("connector-payments", "connectors", ("outbox", "payments"), ("kafka_bootstrap", "payments_replication_url")),
    Entry(
        "sink-orders",
        "connectors",
        ("commands", "orders"),
        # Of payments too: orders paid from a wallet are committed in both.
        ("kafka_bootstrap", "orders_database_url", "payments_database_url"),
    ),
    Entry(
        "sink-payments",
        "connectors",
        ("commands", "payments"),
        ("kafka_bootstrap", "payments_database_url", "payment_provider_url"),
    ),
    Entry("sink-copies", "connectors", ("copies",), ("kafka_bootstrap", "redis_url")),
)


def workers(count: int) -> tuple[Entry, ...]:
    """The rows of `count` workers."""
    return tuple(
        Entry(f"worker-{index}", "streams", ("--index", str(index)), ("kafka_bootstrap",), "--port")
        for index in range(count)
    )


class OwnProcess:
    """One of our processes, started again and again; on another port where somebody else has taken its own.

    `find_port` gives a free port. `settings` are read anew at each start: an address in them may have changed.
    """

    def __init__(self, entry: Entry, find_port: Callable[[], int], settings: Mapping[str, str], data_dir: Path) -> None:
        self.name, self.entry = entry.name, entry
        self._find_port, self._settings, self._data_dir = find_port, settings, data_dir
        self.port = find_port()
        # Where it writes what it does.
        self.log = data_dir / "logs" / f"{entry.name}.log"
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """Where it answers; another one after a restart that found the port taken."""
        return f"http://{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """Process id of the present run."""
        return self._running().pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._running().exit_code

    def launch(self) -> None:
        """Start it; it waits for what it needs by itself."""
        if not is_free(self.port):
            self.port = self._find_port()
        self._child = Child(self._command())

    def ask_to_end(self) -> None:
        """Ask it to end, and do not wait; nothing happens when it is not running."""
        if self._child is not None:
            self._child.send(signal.SIGTERM)

    def stop(self) -> None:
        """Orderly end, killed when it takes too long."""
        if self._child is not None:
            self._child.stop(STOP_WITHIN_S, signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would."""
        self._running().kill()

    def is_ready(self) -> bool:
        """Ask its `/readyz`, which names its process: somebody else may have taken the port before it could."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=PROBE_WITHIN_S)
        try:
            connection.request("GET", "/readyz")
            answer = connection.getresponse()
            told = json.loads(answer.read())
            return answer.status == http.client.OK and isinstance(told, dict) and told.get("pid") == self.pid
        except (OSError, http.client.HTTPException, ValueError):
            return False
        finally:
            connection.close()

    def _command(self) -> Command:
        entry, settings = self.entry, self._settings
        wanted = {name: settings[name] for name in (*entry.needs, "schema_registry_url") if name in settings}
        return Command(
            entry.name,
            [sys.executable, "-m", entry.module, *entry.arguments, entry.port_flag, str(self.port)],
            self.log,
            environment_of(wanted | {"data_dir": str(self._data_dir)}),
        )

    def _running(self) -> Child:
        if self._child is None:
            raise LocalError(f"{self.name} was not started")
        return self._child


def environment_of(settings: Mapping[str, str]) -> dict[str, str]:
    """Our environment with these settings of ours and no others."""
    inherited = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
    return inherited | {f"{PREFIX}{name.upper()}": value for name, value in settings.items()}
