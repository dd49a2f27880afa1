"""The processes of the write side as they are started by hand."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from tally.local.databases import ServiceDatabase
from tally.local.ports import free_ports

WITHIN_S = 60.0


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """Ours without any setting of whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TALLY_")}
    paths = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    return {**kept, "PYTHONPATH": paths, "TALLY_DATA_DIR": str(folder), **settings}


@contextmanager
def api(folder: Path, **settings: str) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    (port,) = free_ports(1)
    with (folder / "api.log").open("wb") as log:
        arguments = [sys.executable, "-m", "producers", "api", "--port", str(port)]
        process = subprocess.Popen(arguments, cwd=folder, env=environment(folder, **settings), stderr=log)
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10)
        try:
            ends = time.monotonic() + WITHIN_S
            while True:
                assert process.poll() is None, (folder / "api.log").read_text()
                assert time.monotonic() < ends, "the API does not answer"
                try:
                    client.get("/livez")
                    break
                except httpx.TransportError:
                    time.sleep(0.05)
            yield process, client
        finally:
            client.close()
            process.kill()
            process.wait(10)


def until_ready(client: httpx.Client) -> None:
    ends = time.monotonic() + WITHIN_S
    while (answer := client.get("/readyz")).status_code != 200:
        assert time.monotonic() < ends, answer.text
        time.sleep(0.05)


ORDER = {
    "customer_id": "guest",
    "currency": "GBP",
    "lines": [{"sku": "85123A", "quantity": 1, "unit_price_minor": 100}],
    "payment": {"method": "card", "reference": "tok_ok"},
}


def test_a_killed_api_gives_the_same_answer_to_the_same_key(
    orders_database: ServiceDatabase, kafka: str, tmp_path: Path
) -> None:
    settings = {"TALLY_ORDERS_DATABASE_URL": orders_database.service_url, "TALLY_KAFKA_BOOTSTRAP": kafka}
    with api(tmp_path, **settings) as (process, client):
        until_ready(client)
        first = client.post("/orders", json=ORDER, headers={"Idempotency-Key": "k"})
        process.kill()
    with api(tmp_path, **settings) as (process, client):
        again = client.post("/orders", json=ORDER, headers={"Idempotency-Key": "k"})
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert (first.status_code, again.status_code, again.json()) == (201, 201, first.json())
    with psycopg.connect(orders_database.owner_url) as connection:
        assert connection.execute("select count(*) from heads").fetchone() == (1,)


def test_without_its_servers_it_lives_but_is_not_ready(tmp_path: Path) -> None:
    settings = {
        "TALLY_ORDERS_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/orders",
        "TALLY_KAFKA_BOOTSTRAP": "127.0.0.1:1",
    }
    with api(tmp_path, **settings) as (_, client):
        ready = client.get("/readyz")
        assert (ready.status_code, set(ready.json()["wrong"])) == (503, {"orders database", "kafka"})
        refused = client.post("/orders", json=ORDER, headers={"Idempotency-Key": "k"})
        assert (refused.status_code, refused.json()["type"]) == (503, "database-out-of-reach")
        assert "Retry-After" in refused.headers


@pytest.mark.parametrize(
    ("settings", "code", "word"),
    [
        ({}, 4, "TALLY_ORDERS_DATABASE_URL"),
        ({"TALLY_ORDERS_DATABASE_URL": "mysql://h/d"}, 2, "TALLY_ORDERS_DATABASE_URL"),
    ],
)
def test_a_missing_or_wrong_setting_is_one_line_that_names_it(
    settings: dict[str, str], code: int, word: str, tmp_path: Path
) -> None:
    arguments = [sys.executable, "-m", "producers", "api", "--port", str(free_ports(1)[0])]
    ended = subprocess.run(
        arguments, cwd=tmp_path, env=environment(tmp_path, **settings), capture_output=True, text=True, check=False
    )
    assert (ended.returncode, len(ended.stderr.strip().splitlines())) == (code, 1), ended.stderr
    assert word in ended.stderr
