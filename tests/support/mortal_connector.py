"""An outbox connector that dies where a test says so: when a batch was sent, and when it was stored."""

from __future__ import annotations

from typing import Annotated

import typer
from mortal_dying import reach
from prometheus_client import CollectorRegistry

from connectors.outbox import DebeziumPlacement, Metrics, OutboxConfig, Routing, run
from connectors.outbox.steps import Step
from connectors.outbox_probes import OutboxHealth
from connectors.probes import Probes
from connectors.stopping import stopped_by_signals
from schemas import outbox as columns
from tally import logs
from tally.settings import Settings


def main(service: str, probe_port: Annotated[int, typer.Option()]) -> None:
    logs.configure(f"connector-{service}")
    settings, metrics, slot = Settings(probe_port=probe_port), Metrics(), f"tally_{service}_outbox"
    config = OutboxConfig(
        name=service,
        source_url=settings.replication_url(service),
        bootstrap=settings.kafka_bootstrap,
        table=columns.TABLE,
        slot=slot,
        publication=slot,
        routing=Routing(
            timestamp_field=columns.TIMESTAMP_FIELD,
            placements=DebeziumPlacement.parse_list(columns.PLACEMENT),
            route_by_field=columns.ROUTE_BY_FIELD,
            route_replacement=columns.ROUTE_REPLACEMENT,
            null_headers=False,
        ),
        snapshot_order=columns.ORDER,
    )

    def at_step(step: Step) -> None:
        reach(f"connector {service} {step}")

    with Probes(OutboxHealth(metrics), CollectorRegistry(), probe_port, "127.0.0.1"):
        code = run(config, stopped_by_signals(), metrics, at_step=at_step)
    raise SystemExit(code)


if __name__ == "__main__":
    typer.run(main)
