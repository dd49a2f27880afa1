"""Kafka, PostgreSQL and Valkey of this machine: started, stopped, started again, killed."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from tally.endpoints import is_alive
from tally.local.data_directory import DataDirectory
from tally.local.errors import AlreadyRuns, ServerFailed
from tally.local.jars import Lock
from tally.local.kafka import FENCED, Kafka, archive
from tally.local.ports import free_ports
from tally.local.postgres import Postgres
from tally.local.servers import LocalServers
from tally.local.valkey import Valkey

GONE_WITHIN_S = 60.0

START_AND_TELL_PIDS = """
import signal, sys
from pathlib import Path
from tally.local.servers import LocalServers
servers = LocalServers(Path(sys.argv[1]), durable=False)
servers.start()
print(*(server.pid for server in servers.all), flush=True)
signal.pause()
"""
START_POSTGRES = """
import os, sys
from pathlib import Path
import psycopg
from tally.local.postgres import Postgres
server = Postgres(Path(sys.argv[1]), durable=False)
server.start()
with psycopg.connect(server.superuser_url) as connection:
    print(os.geteuid(), Path(f"/proc/{server.pid}").stat().st_uid, server.place.account, flush=True)
server.stop()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data directory that any account can enter: pytest's own folders are for us alone."""
    with tempfile.TemporaryDirectory(prefix="tally-test-") as path:
        Path(path).chmod(0o755)
        yield Path(path)


@pytest.fixture
def closed_folder(tmp_path: Path) -> Path:
    """A data directory below a folder that only we can enter."""
    closed = tmp_path / "home"
    closed.mkdir()
    closed.chmod(0o700)
    return closed / "data"


def wait_until(condition: Callable[[], bool], within_s: float = GONE_WITHIN_S) -> bool:
    ends_at_s = time.monotonic() + within_s
    pause = threading.Event()
    while not condition():
        if time.monotonic() > ends_at_s:
            return False
        pause.wait(0.05)
    return True


def test_a_second_start_finds_topics_and_rows_of_the_first(folder: Path) -> None:
    with LocalServers(folder, durable=False) as first:
        admin = AdminClient({"bootstrap.servers": first.kafka.bootstrap})
        admin.create_topics([NewTopic("kept", 2, 1)])["kept"].result(10)
        first.postgres.create_services()
        url = first.postgres.host.url("orders", "orders_owner", first.postgres.passwords.of("orders_owner"))
        with psycopg.connect(url) as connection:
            connection.execute("create table kept as select 7 as seven")
    with LocalServers(folder, durable=False) as second:
        assert (
            len(AdminClient({"bootstrap.servers": second.kafka.bootstrap}).list_topics().topics["kept"].partitions) == 2
        )
        services = second.postgres.create_services()
        with psycopg.connect(services["orders"].owner_url) as connection:
            assert connection.execute("select seven from kept").fetchone() == (7,)
        with (
            pytest.raises(psycopg.errors.InsufficientPrivilege),
            psycopg.connect(services["orders"].service_url) as other,
        ):
            other.execute("select seven from kept")
        pids = [server.pid for server in second.all]
    assert [pid for pid in pids if is_alive(pid)] == []


def test_a_killed_parent_leaves_no_process_behind_and_the_next_start_works(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", START_AND_TELL_PIDS, str(folder)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 3
        backends = children_of(pids[2])
        parent.send_signal(signal.SIGKILL)
    assert wait_until(lambda: not any(is_alive(pid) for pid in [*pids, *backends]))
    with LocalServers(folder, durable=False) as servers:
        assert servers.postgres.is_ready()


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_an_ordinary_user_runs_postgresql_as_itself(folder: Path) -> None:
    command = [sys.executable, "-c", START_POSTGRES, str(folder)]
    if os.geteuid() == 0:
        os.chown(folder, 65534, 65534)
        # The interpreter may lie in root's home: reading there is the one right that is kept.
        keep = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *keep, *command]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    ours, servers, account = run.stdout.split(maxsplit=2)
    assert ours == servers != "0"
    assert account.strip() == "None"


def test_root_runs_postgresql_as_somebody_else(folder: Path) -> None:
    server = Postgres(folder, durable=False)
    server.start()
    try:
        assert Path(f"/proc/{server.pid}").stat().st_uid != 0
        assert server.place.remark is None
    finally:
        server.stop()


def test_below_a_closed_folder_the_data_go_where_the_servers_account_can_enter(closed_folder: Path) -> None:
    server = Postgres(closed_folder, durable=False)
    try:
        server.start()
        if server.place.account is None:
            assert server.place.data.is_relative_to(closed_folder)
        else:
            assert not server.place.data.is_relative_to(closed_folder)
            assert str(server.place.data) in (server.place.remark or "")
    finally:
        server.stop()
        data = server.place.data
        server.remove_data()
    assert not data.exists()


def test_programs_that_several_processes_copy_at_once_are_there_once_and_whole(tmp_path: Path) -> None:
    """Each would else write over a program that another one runs already."""
    programs = tmp_path / "package" / "install" / "bin"
    programs.mkdir(parents=True)
    for number in range(50):
        (programs / f"program-{number}").write_bytes(os.urandom(100_000))
    copy = f"import pathlib, sys; from tally.local.postgres_place import _copied; print(_copied(pathlib.Path({str(programs)!r})))"
    copying = [subprocess.Popen([sys.executable, "-c", copy], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    (place,) = {process.communicate()[0].strip() for process in copying}
    home = Path(place).parents[3]
    try:
        assert [process.returncode for process in copying] == [0] * 4
        assert [path.name for path in home.iterdir()] == ["whole"]
        assert {path.name: path.read_bytes() for path in Path(place).iterdir()} == {
            path.name: path.read_bytes() for path in programs.iterdir()
        }
    finally:
        shutil.rmtree(home)


def test_passwords_are_for_their_owner_alone(folder: Path) -> None:
    server = Postgres(folder)
    assert server.superuser_url
    assert stat.S_IMODE((folder / "passwords.json").stat().st_mode) == 0o600


def test_a_killed_server_comes_back_on_its_port_with_its_data(folder: Path) -> None:
    server = Postgres(folder)
    server.start()
    try:
        with psycopg.connect(server.superuser_url) as connection:
            connection.execute("create table kept()")
        server.kill()
        assert not server.is_ready()
        server.launch()
        server.wait_ready()
        with psycopg.connect(server.superuser_url) as connection:
            assert connection.execute("select count(*) from kept").fetchone() == (0,)
    finally:
        server.stop()


def test_postgresql_comes_back_only_when_the_children_of_a_killed_one_have_ended(folder: Path) -> None:
    """They end by themselves, but not at once, and one that has the shared memory keeps a new server from starting."""
    server = Postgres(folder, durable=False)
    server.start()
    child = children_of(server.pid)[0]
    os.kill(child, signal.SIGSTOP)
    server.kill()
    threading.Timer(1.0, os.kill, (child, signal.SIGCONT)).start()
    server.start()
    server.stop()


def test_a_killed_broker_is_fenced_before_it_comes_back_and_not_while_it_does(folder: Path) -> None:
    """Else transactions that were being committed are called complete without a marker, and readers wait for ever."""
    kafka = Kafka(folder)
    kafka.start()
    kafka.stop()
    kafka.start()
    assert FENCED not in kafka.log.read_bytes(), "there is nothing to fence after a stop"
    kafka.kill()
    kafka.start()
    fenced = kafka.log.read_bytes().split(FENCED)
    kafka.stop()
    assert len(fenced) == 2
    assert b"Starting broker" in fenced[1], "by the controller alone, before the broker starts"


def test_a_lock_file_with_the_number_of_another_program_does_not_stop_postgresql(folder: Path) -> None:
    server = Postgres(folder, durable=False)
    server.prepare()
    (server.place.data / "postmaster.pid").write_text(f"{os.getppid()}\n{server.place.data}\n")
    server.start()
    server.stop()


def test_a_server_that_cannot_start_names_its_log(folder: Path) -> None:
    first, port = Valkey(folder / "a"), free_ports(1)[0]
    first.port = port
    first.start()
    try:
        second = Valkey(folder / "b", port)
        # On the port somebody answers already; what has ended is seen all the same.
        second.prepare()
        second.launch()
        assert wait_until(lambda: second.exit_code is not None)
        with pytest.raises(ServerFailed, match=r"valkey ended with 1 .*; see .*valkey\.log"):
            second.wait_ready()
    finally:
        first.stop()


def test_one_process_owns_a_data_directory(folder: Path) -> None:
    first, second = DataDirectory(folder), DataDirectory(folder)
    first.claim()
    assert second.owner() == os.getpid()
    with pytest.raises(AlreadyRuns, match=f"process {os.getpid()}"):
        second.claim()
    first.release()
    assert second.owner() is None
    second.claim()
    second.release()


def test_the_archive_of_the_set_up_fits_the_broker_that_is_started(folder: Path) -> None:
    # Elsewhere the JVM passes over an archive that does not fit (other options, other jars): here it ends.
    kafka = Kafka(folder, jvm_options=("-XX:AOTMode=on", f"-XX:AOTCache={archive(Lock.read())}"))
    kafka.start()
    kafka.stop()
