"""Probes and metrics of an outbox connector that runs alone, and the registry that every process begins with."""

from __future__ import annotations

from prometheus_client import CollectorRegistry
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from connectors.outbox import Metrics
from connectors.outbox_probes import OutboxFigures, OutboxHealth
from connectors.probes import Probes


def process_registry() -> CollectorRegistry:
    """A registry with the figures that every process has."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def serve(metrics: Metrics, name: str, host: str, port: int) -> Probes:
    """Probes and metrics of a connector that runs alone. Raises OSError."""
    registry = process_registry()
    registry.register(OutboxFigures(name, metrics))
    return Probes(OutboxHealth(metrics), registry, port, host)
