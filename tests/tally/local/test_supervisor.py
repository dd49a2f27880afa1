"""The supervisor on processes of the tests' own: what dies is started again, what is asked to end ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tally.endpoints import is_alive
from tally.local.child import Child, Command
from tally.local.processes import Entry, OwnProcess
from tally.local.supervisor import FIRST_PAUSE_S, LAST_PAUSE_S, RAN_WELL_S, Restarts

WITHIN_S = 60.0

PRETENDER = """
import http.server, json, os, pathlib, signal, sys, time
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        told = {"pid": os.getpid(), "provider": os.environ.get("TALLY_PAYMENT_PROVIDER_URL")}
        self.wfile.write(json.dumps(told).encode())
    def log_message(self, *arguments): pass
if sys.argv[1] == "once":
    print("made", sorted(name for name in os.environ if name.startswith("TALLY_")), flush=True)
    sys.exit(0)
if sys.argv[1] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
gate = pathlib.Path(__file__).with_name("gate")
while gate.exists():
    time.sleep(0.01)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[3])), Ready).serve_forever()
"""
RUN = """
import sys
from pathlib import Path
from tally.local.processes import Entry
from tally.local.system import Plan, System
from tally.logs import configure
configure("supervisor")
names = [f"{service}_{use}_url" for service in ("orders", "payments", "customers") for use in ("database",)]
given = {"kafka_bootstrap": "127.0.0.1:9", "redis_url": "redis://127.0.0.1:9/0"}
given |= dict.fromkeys(names, "postgresql://u:secret@127.0.0.1:9/x")
once = ("pretender", "once")
api = Entry("api", "pretender", ("calm",), ("redis_url",), "--port", "api_url")
sandbox = Entry("payment-sandbox", "pretender", ("calm",), (), "--port", "payment_provider_url")
sink = Entry("sink", "pretender", ("calm",), ("payment_provider_url",))
processes = (api, sandbox, sink)
plan = Plan(Path(sys.argv[1]), given, workers=0, processes=processes, migrate=once, make_topics=once)
System(plan, lambda line: print(line, file=sys.stderr, flush=True)).run(lambda document: print("ready", flush=True))
"""


class Running:
    """A supervisor in a process of its own, with its endpoints file."""

    def __init__(self, folder: Path, process: subprocess.Popen[str]) -> None:
        self.folder, self.process = folder, process

    @property
    def document(self) -> dict[str, object]:
        return json.loads((self.folder / "endpoints.json").read_text())

    @property
    def pids(self) -> dict[str, int]:
        return self.document["pids"]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    (tmp_path / "pretender.py").write_text(PRETENDER)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TALLY_")}
    with subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path)],
        env=inherited | {"PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield Running(tmp_path, process)
        finally:
            process.kill()


def wait_until(condition: Callable[[], bool], within_s: float = WITHIN_S) -> bool:
    ends_at_s = time.monotonic() + within_s
    pause = threading.Event()
    while not condition():
        if time.monotonic() > ends_at_s:
            return False
        pause.wait(0.02)
    return True


def test_a_killed_process_is_started_again_and_announced_anew(running: Running) -> None:
    before = running.pids
    os.kill(before["api"], signal.SIGKILL)
    assert wait_until(lambda: running.pids["api"] != before["api"])
    after = running.pids
    assert is_alive(after["api"])
    assert {name: pid for name, pid in after.items() if name != "api"} == {
        name: pid for name, pid in before.items() if name != "api"
    }


def test_a_process_that_is_killed_again_and_again_comes_back_each_time(running: Running) -> None:
    for _ in range(3):
        pid = running.pids["sink"]
        os.kill(pid, signal.SIGKILL)
        assert wait_until(lambda pid=pid: running.pids["sink"] != pid)  # type: ignore[misc]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_end_it_ends_all_and_takes_its_announcement_away(running: Running, number: signal.Signals) -> None:
    pids = running.pids
    running.process.send_signal(number)
    running.process.communicate(timeout=WITHIN_S)
    assert running.process.returncode == 0
    assert [name for name, pid in pids.items() if is_alive(pid)] == []
    assert not (running.folder / "endpoints.json").exists()


def test_killed_itself_it_leaves_nothing_behind(running: Running) -> None:
    pids = running.pids
    running.process.kill()
    running.process.communicate()
    assert wait_until(lambda: not any(is_alive(pid) for pid in pids.values()))


def test_the_announcement_is_complete_and_for_its_owner_alone(running: Running) -> None:
    assert stat.S_IMODE((running.folder / "endpoints.json").stat().st_mode) == 0o600
    document = running.document
    assert {"kafka", "redis", "api", "orders_database", "payments_database", "customers_database"} <= document.keys()
    assert running.pids.keys() == {"supervisor", "api", "payment-sandbox", "sink"}
    assert running.pids["supervisor"] == running.process.pid


def test_a_step_gets_the_settings_that_it_needs_and_no_others(running: Running) -> None:
    needed = ["TALLY_CUSTOMERS_OWNER_URL", "TALLY_DATA_DIR", "TALLY_ORDERS_OWNER_URL", "TALLY_PAYMENTS_OWNER_URL"]
    assert (running.folder / "logs" / "init-migrate.log").read_text() == f"made {needed}\n"
    assert (running.folder / "logs" / "init-topics.log").read_text() == (
        "made ['TALLY_DATA_DIR', 'TALLY_KAFKA_BOOTSTRAP']\n"
    )


def take_port(folder: Path, pid: int, port: int) -> ThreadingHTTPServer:
    """Kill a process and take its port before its successor, which waits at the gate, can listen there."""
    (folder / "gate").touch()
    os.kill(pid, signal.SIGKILL)
    taken: list[ThreadingHTTPServer] = []

    def took() -> bool:
        with contextlib.suppress(OSError):
            taken.append(ThreadingHTTPServer(("127.0.0.1", port), Foreign))
        return bool(taken)

    assert wait_until(took)
    threading.Thread(target=taken[0].serve_forever, args=(0.05,), daemon=True).start()
    (folder / "gate").unlink()
    return taken[0]


class Foreign(BaseHTTPRequestHandler):
    """Another system's process, which is ready too."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"pid": os.getpid()}).encode())

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def port_of(running: Running, name: str) -> int:
    """The port that a process was started with; 0 while it is between two runs."""
    try:
        arguments = Path(f"/proc/{running.pids[name]}/cmdline").read_bytes().split(b"\0")
        return int(arguments[-2])
    except (OSError, KeyError, IndexError):
        return 0


def told_by(port: int) -> dict[str, object]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1) as answer:
            return json.loads(answer.read())
    except OSError:
        return {}


def api_answers_where_it_is_announced(running: Running) -> bool:
    port = port_of(running, "api")
    return running.document["api"] == f"http://127.0.0.1:{port}" and told_by(port).get("pid") == running.pids["api"]


def test_a_process_whose_port_was_taken_comes_back_on_another_one_and_is_announced_there(running: Running) -> None:
    before, port = running.document["api"], port_of(running, "api")
    foreign = take_port(running.folder, running.pids["api"], port)
    assert wait_until(lambda: running.document["api"] != before)
    assert wait_until(lambda: api_answers_where_it_is_announced(running))
    foreign.shutdown()
    foreign.server_close()


def test_who_needs_the_address_of_a_process_that_moved_is_started_again_with_the_new_one(running: Running) -> None:
    foreign = take_port(running.folder, running.pids["payment-sandbox"], port_of(running, "payment-sandbox"))

    def knows() -> bool:
        moved = port_of(running, "payment-sandbox")
        return moved != foreign.server_port and told_by(port_of(running, "sink")).get("provider") == (
            f"http://127.0.0.1:{moved}"
        )

    assert wait_until(knows)
    foreign.shutdown()
    foreign.server_close()


def test_another_process_on_the_port_does_not_count_as_ready(tmp_path: Path) -> None:
    foreign = ThreadingHTTPServer(("127.0.0.1", 0), Foreign)
    threading.Thread(target=foreign.serve_forever, args=(0.05,), daemon=True).start()
    ports = [foreign.server_port]
    process = OwnProcess(Entry("api", "http.client", (), (), "--port"), ports.pop, {}, tmp_path)
    process._child = Child(Command("idle", [sys.executable, "-c", "import time; time.sleep(60)"], tmp_path / "log"))
    assert wait_until(lambda: told_by(process.port) == {"pid": os.getpid()})
    assert not process.is_ready()
    process.kill()
    foreign.shutdown()
    foreign.server_close()


def test_pauses_double_to_their_bound_and_start_anew_after_a_good_run() -> None:
    restarts = Restarts(started_at_s=0.0)
    pauses = []
    for second in range(7):
        pauses.append(restarts.died(second))
        restarts.restarted(second)
    assert pauses[:3] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S]
    assert pauses[-1] == LAST_PAUSE_S
    assert restarts.died(6 + RAN_WELL_S) == FIRST_PAUSE_S
