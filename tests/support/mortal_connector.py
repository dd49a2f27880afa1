"""An outbox connector that dies where a test says so: when a batch was sent, and when it was stored."""

from __future__ import annotations

from typing import Annotated

import typer
from mortal_dying import reach
from prometheus_client import CollectorRegistry

from connectors.outbox import Metrics, run
from connectors.outbox.of_service import outbox_of
from connectors.outbox.steps import Step
from connectors.outbox_probes import OutboxHealth
from connectors.probes import Probes
from connectors.stopping import stopped_by_signals
from tally import logs
from tally.settings import Settings


def main(service: str, probe_port: Annotated[int, typer.Option()]) -> None:
    logs.configure(f"connector-{service}")
    settings, metrics = Settings(probe_port=probe_port), Metrics()
    config = outbox_of(service, settings.replication_url(service), settings.kafka_bootstrap)

    def at_step(step: Step) -> None:
        reach(f"connector {service} {step}")

    with Probes(OutboxHealth(metrics), CollectorRegistry(), probe_port, "127.0.0.1"):
        code = run(config, stopped_by_signals(), metrics, at_step=at_step)
    raise SystemExit(code)


if __name__ == "__main__":
    typer.run(main)
