"""What the connector shows of itself, its slot and its pace."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Callable
from typing import Any

from connectors.outbox import Metrics
from connectors.outbox.metrics import WAL_STATUS
from connectors.outbox.watching import Watcher
from tally.local.ports import free_ports


def test_the_log_that_an_idle_slot_holds_is_shown(outbox: Any, wait_until: Callable[..., Any]) -> None:
    outbox.start().until_ready().end()
    metrics = Metrics()
    with Watcher(outbox.config(), metrics, every_s=0.05):
        wait_until(lambda: metrics.slot, "figures")
        outbox.sql(
            "create table other (content text)",
            "insert into other select repeat('x', 500) from generate_series(1, 4000)",
        )
        wait_until(lambda: metrics.slot.held_bytes > 2_000_000, "the log that the slot holds")
        assert metrics.slot.unconfirmed_bytes > 2_000_000
        assert metrics.slot.wal_status in WAL_STATUS
        outbox.sql(f"select pg_drop_replication_slot('{outbox.name}')")
        wait_until(lambda: metrics.slot is None, "no slot, no figures")


def test_pace_and_figures_of_the_slot_are_among_the_samples(outbox: Any, wait_until: Callable[..., Any]) -> None:
    metrics = Metrics()
    outbox.start().until_ready()
    with Watcher(outbox.config(), metrics, every_s=0.05):
        metrics.rows_total, metrics.transactions_total = 10, 5
        wait_until(lambda: metrics.rows_per_second > 0 and metrics.transactions_per_second > 0, "a pace")
        wait_until(lambda: metrics.slot, "figures")
    names = {name for name, _, _ in metrics.samples()}
    assert {"tally_outbox_slot_held_bytes", "tally_outbox_slot_wal_status", "tally_outbox_rows_per_second"} <= names


def test_the_oldest_unpublished_row_ages_until_it_is_published(outbox: Any, wait_until: Callable[..., Any]) -> None:
    metrics = Metrics(oldest_waiting_us=1)
    assert metrics.oldest_waiting_s > 1_000_000_000
    running = outbox.start().until_ready()
    outbox.insert(1, 5)
    running.until_rows(5)
    wait_until(lambda: running.metrics.oldest_waiting_s == 0, "nothing waits")
    assert running.metrics.latency.sum_s > 0


def test_the_connector_alone_serves_probes_and_figures(outbox: Any, wait_until: Callable[..., Any]) -> None:
    (port,) = free_ports(1)
    given = ["--source-url", outbox.url, "--bootstrap", outbox.bootstrap, "--slot", outbox.name]
    command = [sys.executable, "-m", "connectors", "outbox-standalone", *given, "--probe-port", str(port)]
    outbox.processes.append(subprocess.Popen(command, stderr=subprocess.PIPE))

    def answer(path: str) -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
                return str(response.read().decode())
        except OSError:
            return ""

    wait_until(lambda: answer("/readyz"), "ready")
    assert answer("/livez")
    assert f'tally_outbox_ready{{connector="{outbox.name}"}} 1.0' in answer("/metrics")


def test_a_row_s_traceparent_becomes_its_record_s_header(bare_outbox: Any) -> None:
    bare_outbox.sql(
        "create table outbox (id uuid primary key default gen_random_uuid(), aggregatetype text, aggregateid text, "
        "payload bytea, traceparent text)"
    )
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    bare_outbox.spawn("--additional", "traceparent:header")
    bare_outbox.sql(
        f"insert into outbox (aggregatetype, aggregateid, payload, traceparent) values ('t', 'k', 'x', '{trace}')"
    )
    (record,) = bare_outbox.until_read(1)
    assert dict(record.headers())["traceparent"] == trace.encode()
