"""Several workers on one machine: a process each, started again when it dies, all ended together.

`python -m tally.local.worker_group COUNT FIRST_INDEX FIRST_PORT HOST`; what `python -m streams --processes COUNT` becomes.
Worker `FIRST_INDEX + n` answers on port `FIRST_PORT + n`. By its index it has a transactional id, a static group member
and a data directory of its own, so one that comes back takes up where it was killed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from tally import logs
from tally.local.child import Child, Command
from tally.local.errors import LocalError
from tally.local.ports import is_free
from tally.local.supervisor import Supervisor

# The running batch is committed, or given up after ten seconds; then the workers leave the group.
STOP_WITHIN_S = 20.0
PROCESSES_MAX = 64


class WorkerProcess:
    """One worker of the group. It writes where we write, and ends in order when we die."""

    def __init__(self, index: int, host: str, port: int) -> None:
        self.name, self.port = f"worker-{index}", port
        self._command = Command(
            self.name,
            [sys.executable, "-m", "streams", "--index", str(index), "--host", host, "--port", str(port)],
            None,
            dict(os.environ),
            death_signal=signal.SIGTERM,
        )
        self._child: Child | None = None

    @property
    def pid(self) -> int:
        """Process id of the present run."""
        return self._running().pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._running().exit_code

    def launch(self) -> None:
        """Start it; it waits for Kafka by itself."""
        self._child = Child(self._command)

    def stop(self) -> None:
        """Orderly end, killed when it takes too long."""
        if self._child is not None:
            self._child.stop(STOP_WITHIN_S)

    def kill(self) -> None:
        """End it as a crash would."""
        self._running().kill()

    def _running(self) -> Child:
        if self._child is None:
            raise LocalError(f"{self.name} was not started")
        return self._child


def run_together(workers: Sequence[WorkerProcess]) -> None:
    """Until SIGINT or SIGTERM; then all end side by side. Main thread only."""
    supervisor = Supervisor(_say, lambda: None)
    with supervisor.signals():
        try:
            for worker in workers:
                worker.launch()
            supervisor.watch(workers)
            supervisor.run()
        finally:
            supervisor.stop([workers])


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0 after an orderly end, 1 where a port is taken."""
    count, first_index, first_port, host = int(arguments[0]), int(arguments[1]), int(arguments[2]), arguments[3]
    logs.configure("workers")
    workers = [WorkerProcess(first_index + n, host, first_port + n) for n in range(count)]
    for worker in workers:
        if not is_free(worker.port):
            _say(f"{worker.name} cannot listen on port {worker.port}: somebody does already")
            return 1
    run_together(workers)
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
