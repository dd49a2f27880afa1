"""What the three servers share: one process, a port, a ready check, an end, and the remains of a killed run."""

from __future__ import annotations

import os
import signal
import threading
import time
from abc import ABC, abstractmethod
from importlib.util import find_spec
from pathlib import Path

from tally.local.child import Child, Command
from tally.local.errors import LocalError, ServerFailed
from tally.local.ports import free_ports

READY_WITHIN_S = 60.0
# Between two questions "are you ready"; each question is a real one in the server's protocol.
ASK_AGAIN_S = 0.05
LEFTOVER_GONE_WITHIN_S = 10.0


class Server(ABC):
    """One local server. `start()` = `prepare()`, `launch()`, `wait_ready()`; the parts allow a start side by side.

    `prepare` and `wait_ready` may run in any thread; `launch` belongs to the main thread (see `Child`).
    """

    name: str
    stop_signal = signal.SIGTERM
    stop_within_s = 10.0

    def __init__(self, data_dir: Path, port: int | None = None) -> None:
        self.data_dir = data_dir.absolute()
        self.port = port or free_ports(1)[0]
        self._child: Child | None = None
        self._pid_file = self.data_dir / "run" / f"{self.name}.pid"

    @property
    def log(self) -> Path:
        """Where the server writes what it does."""
        return self.data_dir / "logs" / f"{self.name}.log"

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        return self._running().pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._running().exit_code

    def start(self) -> None:
        """Start and wait until it answers. Raises `LocalError`s."""
        self.prepare()
        self.launch()
        self.wait_ready()

    @abstractmethod
    def prepare(self) -> None:
        """Bring files and data into the form that a start needs; does nothing the second time."""

    @abstractmethod
    def command(self) -> Command:
        """What to run."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Ask the server, in its protocol, whether it serves; returns within a second."""

    def launch(self) -> None:
        """Start the process; call `prepare` before."""
        command = self.command()
        self._end_leftover(command.arguments[0])
        self._child = Child(command)
        self._pid_file.parent.mkdir(parents=True, exist_ok=True)
        self._pid_file.write_text(str(self._child.pid))

    def wait_ready(self, timeout_s: float = READY_WITHIN_S) -> None:
        """Wait until it answers. Raises `ServerFailed` when it ends or does not answer in time."""
        child = self._running()
        ends_at_s = time.monotonic() + timeout_s
        pause = threading.Event()
        while child.exit_code is not None or not self.is_ready():
            if child.exit_code is not None:
                raise ServerFailed(self.name, f"ended with {child.exit_code} at its start", self.log)
            if time.monotonic() > ends_at_s:
                raise ServerFailed(self.name, f"does not answer after {timeout_s:.0f} s", self.log)
            pause.wait(ASK_AGAIN_S)

    def stop(self) -> None:
        """Orderly end; killed when it takes longer than `stop_within_s`. Nothing happens when it is not running."""
        if self._child is not None:
            self._child.stop(self.stop_within_s, self.stop_signal)
            self._pid_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """End it as a crash would (SIGKILL); `launch` and `wait_ready` bring it back on the same port."""
        self._running().kill()

    def _running(self) -> Child:
        if self._child is None:
            raise LocalError(f"{self.name} was not started")
        return self._child

    def _end_leftover(self, program: str) -> None:
        """End what a killed run has left in this data directory: it would hold the files that we are to open."""
        try:
            pid = int(self._pid_file.read_text())
            ours = os.fsencode(program) in Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return
        ends_at_s = time.monotonic() + LEFTOVER_GONE_WITHIN_S
        pause = threading.Event()
        while ours and Path(f"/proc/{pid}").exists() and time.monotonic() < ends_at_s:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                return
            pause.wait(ASK_AGAIN_S)


def package_folder(package: str) -> Path:
    """Folder of an installed package that brings a server. Raises `LocalError` when it is not installed."""
    found = find_spec(package)
    if found is None or found.origin is None:
        raise LocalError(f"the Python package {package} is missing; install Tally with its extra `local`")
    return Path(found.origin).parent
