"""`python -m connectors …` as real processes, with nothing that answers behind them."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tally.local.ports import free_ports

WITHIN_S = 60.0
# Nobody listens on port 1.
SETTINGS = {
    "TALLY_KAFKA_BOOTSTRAP": "127.0.0.1:1",
    "TALLY_REDIS_URL": "redis://127.0.0.1:1/0",
    "TALLY_ORDERS_DATABASE_URL": "postgresql://orders:secret@127.0.0.1:1/orders",
    "TALLY_PAYMENTS_DATABASE_URL": "postgresql://payments:secret@127.0.0.1:1/payments",
    "TALLY_ORDERS_REPLICATION_URL": "postgresql://orders_connector:secret@127.0.0.1:1/orders",
    "TALLY_PAYMENT_PROVIDER_URL": "http://127.0.0.1:1",
}


def environment(folder: Path, **changes: str) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("TALLY_")}
    return {**ours, "TALLY_DATA_DIR": str(folder), **changes}


def run(folder: Path, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """A process that ends by itself."""
    command = [sys.executable, "-m", "connectors", *arguments]
    return subprocess.run(
        command,
        env=environment(folder, **changes),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )


@contextmanager
def started(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], int, Path]]:
    port, log = free_ports(1)[0], folder / "log"
    command = [sys.executable, "-m", "connectors", *arguments, "--probe-port", str(port)]
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environment(folder, **SETTINGS), cwd=folder, stdout=out, stderr=out)
    try:
        yield process, port, log
    finally:
        process.kill()
        process.wait(10)


def asked(port: int, path: str) -> tuple[int, str]:
    """The first answer of a process that may be starting yet."""
    end_s = time.monotonic() + WITHIN_S
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except ConnectionRefusedError:
            assert time.monotonic() < end_s, "no probes in time"
            time.sleep(0.05)
        finally:
            connection.close()


@pytest.mark.parametrize(
    "arguments", [("commands", "orders"), ("commands", "payments"), ("copies",), ("outbox", "orders")], ids=" ".join
)
def test_a_process_without_servers_answers_probes_waits_and_ends_in_order(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    with started(tmp_path, *arguments) as (process, port, log):
        assert asked(port, "/livez")[0] == 200
        status, body = asked(port, "/readyz")
        assert status == 503
        assert json.loads(body)["reason"]
        assert asked(port, "/startupz")[0] == 503
        assert asked(port, "/metrics")[0] == 200
        process.terminate()
        assert process.wait(WITHIN_S) == 0, log.read_text()
        assert all(json.loads(line)["process"] for line in log.read_text().splitlines())


@pytest.mark.parametrize("arguments", [("commands", "orders"), ("copies",), ("outbox", "payments")], ids=" ".join)
def test_a_missing_setting_is_one_line_that_names_it(arguments: tuple[str, ...], tmp_path: Path) -> None:
    ended = run(tmp_path, *arguments)
    assert ended.returncode == 4
    assert len(ended.stderr.splitlines()) == 1
    assert "TALLY_" in ended.stderr


def test_a_wrong_setting_is_one_line_that_names_it(tmp_path: Path) -> None:
    ended = run(tmp_path, "copies", TALLY_KAFKA_BOOTSTRAP="nowhere")
    assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1)
    assert "TALLY_KAFKA_BOOTSTRAP" in ended.stderr


def test_a_taken_probe_port_is_one_line_that_names_it(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = run(tmp_path, "copies", "--probe-port", str(taken.getsockname()[1]), **SETTINGS)
    assert ended.returncode == 2
    assert "TALLY_PROBE_PORT: cannot listen on" in ended.stderr


def test_an_unknown_service_is_wrong_usage(tmp_path: Path) -> None:
    assert run(tmp_path, "commands", "carts").returncode == 2


def test_the_outbox_connector_runs_alone_by_its_own_flags(tmp_path: Path) -> None:
    ended = run(tmp_path, "outbox-standalone", "--help")
    assert ended.returncode == 0
    assert "--source-url" in ended.stdout


def test_the_connector_alone_loads_nothing_of_the_rest(tmp_path: Path) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "connectors.alone", "--help"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=WITHIN_S, check=False)
    assert ended.returncode == 0
    assert "--source-url" in ended.stdout
    loaded = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines()}
    assert "connectors.outbox" in loaded
    rest = ("producers.", "streams.", "tally.", "faust.", "typer.", "rich.", "prometheus_client.", "fastapi.")
    assert [name for name in loaded if name.startswith(rest)] == []
