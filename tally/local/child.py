"""A child process with a log file, that ends when we end, however we end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

TETHER = Path(__file__).with_name("tether.py")
# A log is moved aside at a start when it is longer than this; one older log is kept.
LOG_BYTES_MAX = 20_000_000
KILLED_WITHIN_S = 10


@dataclass(frozen=True, slots=True)
class Account:
    """An account of this machine that a process runs as."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Command:
    """What to run. `log` of None: it writes where we write. `death_signal` is what it gets when its parent dies."""

    name: str
    arguments: Sequence[str]
    log: Path | None
    environment: Mapping[str, str] = field(default_factory=dict)
    account: Account | None = None
    death_signal: signal.Signals = signal.SIGKILL


class Child:
    """A running child process.

    Must be made by a thread that lives as long as the process (the main thread): to the kernel the parent of a
    process is a thread, and our children end with their parent.
    """

    def __init__(self, command: Command) -> None:
        self.command = command
        self.started_at_s = time.monotonic()
        read_end, self._write_end = os.pipe()
        account = f"{command.account.uid}:{command.account.gid}" if command.account else "-"
        tether = [str(os.getpid()), str(int(command.death_signal)), str(read_end), account]
        try:
            with ExitStack() as opened:
                log = opened.enter_context(_opened(command.log)) if command.log is not None else None
                # A session of its own: Ctrl-C reaches the supervisor alone, which then ends all in order.
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(TETHER), *tether, *command.arguments],
                    env=dict(command.environment),
                    cwd="/" if command.account else None,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=None if log is None else subprocess.STDOUT,
                    pass_fds=(read_end,),
                    start_new_session=True,
                )
        except BaseException:
            os.close(self._write_end)
            raise
        finally:
            os.close(read_end)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        code = self._process.poll()
        if code is not None:
            self._close()
        return code

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when it has ended."""
        self._process.send_signal(number)

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end; whether it came in time."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        self._close()
        return True

    def stop(self, timeout_s: float, number: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to end, wait that long, then kill it."""
        self.send(number)
        if not self.wait(timeout_s):
            self.kill()

    def kill(self) -> None:
        """End it at once (SIGKILL) and wait until it is gone."""
        self.send(signal.SIGKILL)
        self._process.wait(KILLED_WITHIN_S)
        self._close()

    def _close(self) -> None:
        if self._write_end >= 0:
            os.close(self._write_end)
            self._write_end = -1


def run_to_end(command: Command, timeout_s: float) -> int | None:
    """Run a command that ends by itself: its exit code, or None where it was killed for taking too long.

    May be called in any thread: the thread stays until the command has ended.
    """
    child = Child(command)
    if child.wait(timeout_s):
        return child.exit_code
    child.kill()
    return None


def _opened(log: Path) -> IO[bytes]:
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
        log.replace(log.with_suffix(".1.log"))
    return log.open("ab")


def plain_environment() -> dict[str, str]:
    """What a server needs of our environment; settings meant for us or for another Java do not reach it."""
    wanted = ("PATH", "HOME", "TMPDIR", "LANG", "TZ")
    return {name: os.environ[name] for name in wanted if name in os.environ}
