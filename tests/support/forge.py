"""Starts worker processes without their imports: one process imports once, and forks a child for each start.

A kill then costs what the worker's own start costs, and not a second of reading Python files beside it. The children
are processes like any other; only their parent is the forge, which says how they ended.

python forge.py SCRIPT        (one JSON object of environment variables a line; answers are JSON lines)
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

LOOK_S = 0.01


class Forged:
    """What `subprocess.Popen` is to its child."""

    def __init__(self, forge: Forge, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._forge = forge

    def poll(self) -> int | None:
        self._forge.hear()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, negative for a signal; subprocess.TimeoutExpired."""
        deadline = time.monotonic() + (timeout if timeout is not None else 60.0)
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("forged", timeout or 60.0)
            time.sleep(LOOK_S)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Forge:
    """`log` gets what forge and children say."""

    def __init__(self, script: Path, log: IO[bytes]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            bufsize=0,
        )
        assert self._process.stdout is not None
        self._answers = self._process.stdout
        self._rest = b""
        self._all: dict[int, Forged] = {}
        self._new: list[Forged] = []

    def start(self, environment: dict[str, str]) -> Forged:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(environment).encode() + b"\n")
        while not self._new:
            self.hear(None)
        return self._new.pop()

    def hear(self, within_s: float | None = 0) -> None:
        """Note what the forge has said."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._answers, selectors.EVENT_READ)
            while selector.select(within_s):
                data = self._answers.read(65536)
                if not data:
                    raise ChildProcessError("the forge has ended; see its log")
                *lines, self._rest = (self._rest + data).split(b"\n")
                for line in lines:
                    self._note(**json.loads(line))
                within_s = 0

    def _note(self, pid: int, code: int | None) -> None:
        if code is None:
            self._all[pid] = Forged(self, pid)
            self._new.append(self._all[pid])
        else:
            self._all[pid].returncode = code

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._answers.close()


def main(script: str) -> None:
    importlib.import_module("faust_rdkafka")
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, _heard)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    requests = os.fdopen(os.dup(0), "rb", 0)
    with selectors.DefaultSelector() as selector:
        selector.register(requests, selectors.EVENT_READ)
        selector.register(ended, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fd == ended:
                    os.read(ended, 4096)
                    _reap()
                elif line := requests.readline():
                    _fork(script, json.loads(line))
                else:
                    return


def _fork(script: str, environment: dict[str, str]) -> None:
    pid = os.fork()
    if pid:
        _say(pid, None)
        return
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(2, 1)  # standard output is the forge's line to the test
    os.environ.update(environment)
    sys.argv = [script]
    runpy.run_path(script, run_name="__main__")
    os._exit(0)


def _reap() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        _say(pid, os.waitstatus_to_exitcode(status))


def _say(pid: int, code: int | None) -> None:
    os.write(1, json.dumps({"pid": pid, "code": code}).encode() + b"\n")


def _heard(number: int, frame: object) -> None:
    """So that the wake-up descriptor is written to."""


if __name__ == "__main__":
    main(*sys.argv[1:])
