"""Probes of a process over real HTTP."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from prometheus_client import CollectorRegistry, Counter

from connectors.outbox import Metrics
from connectors.outbox_probes import OutboxFigures, OutboxHealth
from connectors.probes import Health, Probes, Questions


@dataclass
class Asked:
    """A server and what it answers."""

    port: int

    def __call__(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, body

    def reason(self, path: str) -> str | None:
        return json.loads(self(path)[1])["reason"]


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def ask(health: Health, registry: CollectorRegistry) -> Iterator[Asked]:
    with Probes(health, registry, None) as probes:
        yield Asked(probes.port)


def statuses(ask: Asked) -> tuple[int, int, int]:
    return ask("/livez")[0], ask("/readyz")[0], ask("/startupz")[0]


def test_a_process_lives_before_it_is_ready(ask: Asked) -> None:
    assert statuses(ask) == (200, 503, 503)
    assert ask.reason("/readyz") == "waits for its start"


def test_what_was_ready_once_has_started_also_while_it_waits(ask: Asked, health: Health) -> None:
    health.ready()
    assert statuses(ask) == (200, 200, 200)
    health.waits_for("valkey")
    assert statuses(ask) == (200, 503, 200)
    assert ask.reason("/readyz") == "waits for valkey"


def test_a_loop_that_gives_no_sign_does_not_live() -> None:
    health = Health(silent_max_s=-1)
    with Probes(health, CollectorRegistry(), None) as probes:
        assert statuses(Asked(probes.port)) == (503, 503, 503)


def test_metrics_and_unknown_paths(ask: Asked, registry: CollectorRegistry) -> None:
    Counter("tally_things", "Things", registry=registry).inc(3)
    status, page = ask("/metrics")
    assert status == 200
    assert "tally_things_total 3.0" in page
    assert ask("/")[0] == 404
    assert ask("/readyz?verbose")[0] == 503


def test_a_taken_port_is_an_error(ask: Asked, health: Health, registry: CollectorRegistry) -> None:
    with pytest.raises(OSError, match="in use"):
        Probes(health, registry, ask.port)


def test_the_outbox_connector_shows_its_figures(registry: CollectorRegistry) -> None:
    metrics = Metrics()
    health: Questions = OutboxHealth(metrics)
    registry.register(OutboxFigures("orders", metrics))
    with Probes(health, registry, None) as probes:
        ask = Asked(probes.port)
        assert statuses(ask) == (200, 503, 503)
        metrics.ready, metrics.rows_total = True, 7
        assert statuses(ask) == (200, 200, 200)
        metrics.ready = False
        assert statuses(ask) == (200, 503, 200)
        metrics.latency.observe(0.03)
        page = ask("/metrics")[1]
        assert 'tally_outbox_rows_total{connector="orders"} 7.0' in page
        assert 'tally_outbox_latency_seconds_bucket{connector="orders",le="0.02"} 0.0' in page
        assert 'tally_outbox_latency_seconds_bucket{connector="orders",le="0.05"} 1.0' in page


def test_an_outbox_connector_that_gives_no_sign_is_not_live(registry: CollectorRegistry) -> None:
    metrics = Metrics()
    with Probes(OutboxHealth(metrics, silent_max_s=0.0), registry, None) as probes:
        ask = Asked(probes.port)
        assert ask("/livez")[0] == 503
    metrics.beat()
    assert OutboxHealth(metrics).why_not_live() is None
