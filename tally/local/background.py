"""Starts the whole system as a process of its own (`tally up`, the demo), waits until it is ready, and ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tally import endpoints
from tally.local.child import Child, Command
from tally.local.data_directory import DataDirectory
from tally.local.errors import LocalError

TALLY_DEV = (sys.executable, "-m", "tally.cli", "dev")
ASK_AGAIN_S = 0.05
# Our processes have 10 s, then Kafka 15 s, PostgreSQL and Valkey 10 s each.
STOPPED_WITHIN_S = 50.0
KILLED_WITHIN_S = 10.0


def start_detached(home: Path, arguments: Sequence[str], timeout_s: float) -> dict[str, object]:
    """Start `tally dev` so that it outlives us; what its endpoints file in `home` says once it is ready."""
    log = _log_of(home)
    log.parent.mkdir(parents=True, exist_ok=True)
    said_before = log.stat().st_size if log.exists() else 0
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*TALLY_DEV, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        return _wait_ready(home, process.pid, process.poll, said_before, timeout_s)
    except BaseException:
        process.terminate()
        raise


def start_attached(home: Path, arguments: Sequence[str], timeout_s: float) -> tuple[Child, dict[str, object]]:
    """Start `tally dev` as our child, which ends in order when we end, however we end; with its endpoints.

    Main thread only.
    """
    log = _log_of(home)
    said_before = log.stat().st_size if log.exists() else 0
    environment = dict(os.environ)
    child = Child(Command("system", [*TALLY_DEV, *arguments], log, environment, death_signal=signal.SIGTERM))
    try:
        return child, _wait_ready(home, child.pid, lambda: child.exit_code, said_before, timeout_s)
    except BaseException:
        child.stop(STOPPED_WITHIN_S)
        raise


def stop(home: Path) -> bool:
    """End the system that is announced in `home`, and wait until it is gone; whether one ran."""
    directory = DataDirectory(home)
    pid = directory.owner()
    if pid is None:
        return False
    for number, within_s in ((signal.SIGTERM, STOPPED_WITHIN_S), (signal.SIGKILL, KILLED_WITHIN_S)):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return True
        if _gone(directory, pid, within_s):
            (home / endpoints.FILE_NAME).unlink(missing_ok=True)
            return True
    raise LocalError(f"process {pid} did not end")


def _wait_ready(
    home: Path, pid: int, exit_code: Callable[[], int | None], said_before: int, timeout_s: float
) -> dict[str, object]:
    ends_at_s = time.monotonic() + timeout_s
    pause = threading.Event()
    log = _log_of(home)
    while time.monotonic() < ends_at_s:
        document = endpoints.read(home / endpoints.FILE_NAME)
        pids = document.get("pids")
        if isinstance(pids, dict) and pids.get("supervisor") == pid:
            return document
        if exit_code() is not None:
            raise LocalError(_last_line(log, said_before) or f"the system ended at its start; see {log}")
        pause.wait(ASK_AGAIN_S)
    raise LocalError(f"the system is not ready after {timeout_s:.0f} s; see {log}")


def _gone(directory: DataDirectory, pid: int, within_s: float) -> bool:
    ends_at_s = time.monotonic() + within_s
    pause = threading.Event()
    while directory.owner() == pid:
        if time.monotonic() > ends_at_s:
            return False
        pause.wait(ASK_AGAIN_S)
    return True


def _log_of(home: Path) -> Path:
    return home / "logs" / "dev.log"


def _last_line(log: Path, skip_bytes: int) -> str:
    """The last thing that the system said: on a failed start, why."""
    with log.open("rb") as file:
        file.seek(skip_bytes)
        lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
