"""The whole system on this machine: servers where no address is set, databases, topics, our processes, a supervisor.

The steps of a start:
1. claim the folder of the endpoints file and the data directory,
2. start the servers that are not given, side by side,
3. as soon as PostgreSQL answers: databases, roles, migrations; as soon as Kafka answers: topics,
4. launch our processes and supervise them; they wait for what they need by themselves,
5. when all say that they are ready: write the endpoints file.
The end goes back: our processes, then Valkey, Kafka, PostgreSQL.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from tally import endpoints
from tally.local.addresses import Addresses
from tally.local.child import Command, run_to_end
from tally.local.data_directory import DataDirectory
from tally.local.errors import LocalError, ServerFailed
from tally.local.ports import HOST, free_ports, is_free
from tally.local.processes import TABLE, Entry, OwnProcess, environment_of, workers
from tally.local.servers import start_side_by_side
from tally.local.supervisor import Supervisor
from tally.settings import DEFAULT_API_PORT

INIT_WITHIN_S = 120.0
READY_WITHIN_S = 120.0
ASK_AGAIN_S = 0.05

log = structlog.get_logger("tally.supervisor")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run. `given` are settings by name that were set from outside: what they name is not started here.

    `endpoints_file` is where the running system is announced; None: in the data directory.
    """

    data_dir: Path
    given: Mapping[str, str]
    endpoints_file: Path | None = None
    api_port: int = DEFAULT_API_PORT
    workers: int = 1
    processes: tuple[Entry, ...] = TABLE
    # `python -m …`, run once before the processes, when PostgreSQL and when Kafka answers.
    migrate: tuple[str, ...] = ("producers", "migrate")
    make_topics: tuple[str, ...] = ("tally.cli", "topics", "create")

    @property
    def announced_in(self) -> Path:
        """The endpoints file."""
        return (self.endpoints_file or self.data_dir / endpoints.FILE_NAME).absolute()


class System:
    """A running system; `run` is its whole life. Main thread only."""

    def __init__(self, plan: Plan, say: Callable[[str], None]) -> None:
        self._plan, self._say = plan, say
        self._data_dir = plan.data_dir.absolute()
        folders = dict.fromkeys((plan.announced_in.parent, self._data_dir))
        self._claims = [DataDirectory(folder) for folder in folders]
        self._addresses = Addresses(self._data_dir, plan.given)
        self._processes: list[OwnProcess] = []
        self._ready = threading.Event()
        self._late: LocalError | None = None
        self._supervisor = Supervisor(say, self._restarted)

    def run(self, when_ready: Callable[[dict[str, object]], None]) -> None:
        """Start, tell `when_ready` what the endpoints file says, stay until SIGINT or SIGTERM. Raises `LocalError`s."""
        with self._supervisor.signals():
            self._claim()
            try:
                self._start()
                self._watch_until_ready()
                if not self._supervisor.asked_to_end:
                    when_ready(self._announce())
                    self._supervisor.run()
            except LocalError:
                if not self._supervisor.asked_to_end:  # else something was ended in the middle of its start
                    raise
            finally:
                self._end()

    def _claim(self) -> None:
        for claim in self._claims:
            claim.claim()
        self._plan.announced_in.unlink(missing_ok=True)

    def _start(self) -> None:
        if self._addresses.postgres is not None and self._addresses.postgres.place.remark:
            self._say(self._addresses.postgres.place.remark)
        then = {"postgres": self._make_databases, "kafka": self._make_topics}
        started_at_s = time.monotonic()
        servers = self._addresses.servers
        start_side_by_side(servers, then)
        for name, step in then.items():
            if name not in {server.name for server in servers}:
                step()
        names = ", ".join(f"{server.name} {HOST}:{server.port}" for server in servers)
        if names:
            self._say(f"servers, databases and topics are there after {time.monotonic() - started_at_s:.1f} s: {names}")
        self._supervisor.watch(servers)
        self._launch()

    def _launch(self) -> None:
        entries = [*self._plan.processes, *workers(self._plan.workers)]
        if "payment_provider_url" in self._plan.given:
            entries = [entry for entry in entries if entry.name != "payment-sandbox"]
        settings = self._addresses.settings
        self._processes = [
            OwnProcess(entry, self._api_port if entry.name == "api" else _any_port, settings, self._data_dir)
            for entry in entries
        ]
        self._tell_addresses()
        for process in self._processes:
            process.launch()
        self._supervisor.watch(self._processes)
        self._tell_addresses()

    def _api_port(self) -> int:
        return next(port for port in range(self._plan.api_port, 65536) if is_free(port))

    def _tell_addresses(self) -> None:
        """Note where each process is; those that were started with another address are started again."""
        for process in self._processes:
            name = process.entry.address_setting
            if name is None or self._addresses.settings.get(name) == process.url:
                continue
            self._addresses.set(name, process.url)
            for other in self._processes:
                if name in other.entry.needs:
                    other.ask_to_end()

    def _watch_until_ready(self) -> None:
        """Supervise while a thread asks the processes; a process that dies at its start is already started again."""
        asking = threading.Thread(target=self._ask_until_ready, daemon=True)
        asking.start()
        self._supervisor.run(until=self._ready.is_set)
        if self._late is not None:
            raise self._late

    def _ask_until_ready(self) -> None:
        waiting, ends_at_s = list(self._processes), time.monotonic() + READY_WITHIN_S
        pause = threading.Event()
        while waiting and time.monotonic() < ends_at_s and not self._supervisor.asked_to_end:
            waiting = [process for process in waiting if not process.is_ready()]
            if waiting:
                pause.wait(ASK_AGAIN_S)
        if waiting:
            self._late = ServerFailed(waiting[0].name, f"is not ready after {READY_WITHIN_S:.0f} s", waiting[0].log)
        self._ready.set()
        self._supervisor.wake()

    def _announce(self) -> dict[str, object]:
        document = {**self._addresses.document, "pids": {"supervisor": os.getpid(), **self._supervisor.pids}}
        endpoints.write(self._plan.announced_in, document)
        log.info("endpoints written", path=str(self._plan.announced_in))
        return document

    def _restarted(self) -> None:
        self._tell_addresses()
        if self._ready.is_set() and self._late is None:
            self._announce()

    def _end(self) -> None:
        self._plan.announced_in.unlink(missing_ok=True)
        self._supervisor.stop([self._processes, *([server] for server in self._addresses.servers)])
        for claim in self._claims:
            claim.release()

    def _make_databases(self) -> None:
        self._addresses.create_databases()
        needed = [name for name in self._addresses.settings if name.endswith("_owner_url")]
        self._init_step("migrate", self._plan.migrate, needed)

    def _make_topics(self) -> None:
        if self._addresses.kafka is not None:
            self._addresses.kafka.make_internal_topics()
        self._init_step("topics", self._plan.make_topics, ["kafka_bootstrap"])

    def _init_step(self, name: str, module: tuple[str, ...], needed: list[str]) -> None:
        """Run one command to its end; may be called in any thread."""
        settings = {key: self._addresses.settings[key] for key in needed}
        environment = environment_of(settings | {"data_dir": str(self._data_dir)})
        output = self._data_dir / "logs" / f"init-{name}.log"
        command = Command(name, [sys.executable, "-m", *module], output, environment)
        exit_code = run_to_end(command, INIT_WITHIN_S)
        if exit_code is None:
            raise ServerFailed(name, f"did not end within {INIT_WITHIN_S:.0f} s", output)
        if exit_code:
            raise ServerFailed(name, f"ended with exit code {exit_code}", output)


def _any_port() -> int:
    return free_ports(1)[0]
