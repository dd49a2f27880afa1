"""Keeps processes running: restarts what dies, says where all is (endpoints.json), ends all in order."""

from __future__ import annotations

import contextlib
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import structlog

# Pause before a restart: doubles from the first to the last, starts anew after a run of RAN_WELL_S.
FIRST_PAUSE_S = 0.2
LAST_PAUSE_S = 5.0
RAN_WELL_S = 10.0

log = structlog.get_logger("tally.supervisor")


class Supervised(Protocol):
    """A process that can be started again and again; `Server` and `OwnProcess` are ones."""

    name: str

    @property
    def pid(self) -> int:
        """Process id of the present run."""
        ...

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        ...

    def launch(self) -> None:
        """Start it; returns at once."""
        ...

    def stop(self) -> None:
        """End it in order, in bounded time; nothing happens when it is not running."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...


@dataclass(slots=True)
class Restarts:
    """When one process is to be started again."""

    pause_s: float = FIRST_PAUSE_S
    started_at_s: float = field(default_factory=time.monotonic)
    due_at_s: float | None = None

    def died(self, now_s: float) -> float:
        """Note its death; the pause until its restart."""
        if now_s - self.started_at_s >= RAN_WELL_S:
            self.pause_s = FIRST_PAUSE_S
        pause_s = self.pause_s
        self.due_at_s = now_s + pause_s
        self.pause_s = min(LAST_PAUSE_S, 2 * pause_s)
        return pause_s

    def restarted(self, now_s: float) -> None:
        """Note its new start."""
        self.started_at_s, self.due_at_s = now_s, None


class Supervisor:
    """Watches processes from the main thread (it starts them there, and is woken there by signals).

    `say` gets a line for people at each death; `changed` is called after each restart, when process ids are others.
    """

    def __init__(self, say: Callable[[str], None], changed: Callable[[], None]) -> None:
        self._say, self._changed = say, changed
        self._restarts: dict[str, tuple[Supervised, Restarts]] = {}
        self._signals = 0
        self._wake_read, self._wake_write = socket.socketpair()

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name, of those that run now."""
        return {name: watched.pid for name, (watched, _) in self._restarts.items() if watched.exit_code is None}

    def watch(self, processes: Sequence[Supervised]) -> None:
        """Take over processes that run already."""
        for process in processes:
            self._restarts[process.name] = (process, Restarts())

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Within it, SIGINT and SIGTERM end `run` in order, and the death of a child wakes it."""
        for end in (self._wake_read, self._wake_write):
            end.setblocking(False)
        wanted = {signal.SIGCHLD: self._nothing, signal.SIGINT: self._count, signal.SIGTERM: self._count}
        before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
        # A signal writes a byte, so that the loop below need not look at the clock to see one.
        before_fd = signal.set_wakeup_fd(self._wake_write.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before_fd)
            for number, handler in before.items():
                signal.signal(number, handler)

    @property
    def asked_to_end(self) -> bool:
        """Whether SIGINT or SIGTERM has come."""
        return self._signals > 0

    def run(self, until: Callable[[], bool] = lambda: False) -> None:
        """Restart what dies, until a signal asks for the end or `until` (asked at each waking) is true."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_read, selectors.EVENT_READ)
            while not self.asked_to_end and not until():
                self._tend(time.monotonic())
                dues = [restarts.due_at_s for _, restarts in self._restarts.values() if restarts.due_at_s is not None]
                pause_s = max(0.0, min(dues) - time.monotonic()) if dues else None
                if selector.select(pause_s):
                    with contextlib.suppress(BlockingIOError):
                        self._wake_read.recv(4096)

    def wake(self) -> None:
        """Make `run` look at `until` now; from any thread."""
        with contextlib.suppress(BlockingIOError):
            self._wake_write.send(b"\0")

    def stop(self, groups: Sequence[Sequence[Supervised]]) -> None:
        """End group after group, the processes of a group side by side; a second signal kills what is left."""
        for group in groups:
            with ThreadPoolExecutor(max(1, len(group))) as pool:
                ending = [pool.submit(process.stop) for process in group]
                for process, end in zip(group, ending, strict=True):
                    while not end.done():
                        if self._signals > 1:
                            process.kill()
                        with contextlib.suppress(TimeoutError):
                            end.result(timeout=0.1)
                    end.result()
        self._restarts.clear()

    def _tend(self, now_s: float) -> None:
        restarted = False
        for name, (process, restarts) in self._restarts.items():
            if restarts.due_at_s is None:
                if process.exit_code is not None:
                    pause_s = restarts.died(now_s)
                    log.warning("process died", name=name, exit_code=process.exit_code, restart_in_s=pause_s)
                    self._say(f"{name} ended ({_ending(process.exit_code)}); starting it again in {pause_s:g} s")
            elif restarts.due_at_s <= now_s:
                process.launch()
                restarts.restarted(now_s)
                restarted = True
                log.info("process restarted", name=name, pid=process.pid)
        if restarted:
            self._changed()

    def _count(self, number: int, _: object) -> None:
        self._signals += 1

    def _nothing(self, number: int, _: object) -> None:
        """A handler must be there, else the signal writes no byte."""


def _ending(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"killed by {signal.Signals(-exit_code).name}"
    return f"exit code {exit_code}"
