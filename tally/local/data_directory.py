"""The right to use a data directory: one process at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from tally.local.errors import AlreadyRuns

OWNER_FILE = "owner.pid"
PID_BYTES_MAX = 20


class DataDirectory:
    """A claim on `path`; the kernel gives it back when its process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._file: int | None = None

    def claim(self) -> None:
        """Take it. Raises `AlreadyRuns` when another process has it."""
        self.path.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path / OWNER_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(file, PID_BYTES_MAX).decode().strip()
            os.close(file)
            raise AlreadyRuns(self.path, owner or "?") from None
        os.ftruncate(file, 0)
        os.write(file, str(os.getpid()).encode())
        self._file = file

    def release(self) -> None:
        """Give it back; nothing happens when it was not taken."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def owner(self) -> int | None:
        """Process id of whoever has claimed it; None: nobody."""
        try:
            file = os.open(self.path / OWNER_FILE, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(os.read(file, PID_BYTES_MAX) or 0) or None
        finally:
            os.close(file)
        return None
