"""Workers of the transport as processes that tests start, kill, stop and continue."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from forge import Forge, Forged


class Workers:
    """fold_worker.py as processes that can be killed, stopped and continued."""

    def __init__(self, script: Path, bootstrap: str, log: Path) -> None:
        self._script = script
        self._bootstrap = bootstrap
        self._place = log
        self._log = log.open("ab")
        self._forge: Forge | None = None
        self._all: list[subprocess.Popen[bytes] | Forged] = []

    def start(self, before: tuple[str, ...] = (), **settings: str) -> Any:
        """`before`: a command that runs the worker in surroundings of its own."""
        environment = {f"FOLD_{name.upper()}": value for name, value in settings.items()}
        environment["FOLD_BOOTSTRAP"] = self._bootstrap
        if before:
            command = [*before, sys.executable, str(self._script)]
            self._all.append(
                subprocess.Popen(command, env={**os.environ, **environment}, stdout=self._log, stderr=self._log)
            )
        else:
            self._forge = self._forge or Forge(self._script, self._log)
            self._all.append(self._forge.start(environment))
        return self._all[-1]

    def log(self) -> bytes:
        """All that the workers have said."""
        return self._place.read_bytes()

    def end(self) -> None:
        for process in self._all:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait(60)
        if self._forge is not None:
            self._forge.end()
        self._log.close()
