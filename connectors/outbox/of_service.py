"""The connector of one of our services: its table has a column for each wire header, and one that names the topic."""

from __future__ import annotations

from connectors.outbox.config import DebeziumPlacement, OutboxConfig, Routing
from schemas import outbox as columns


def outbox_of(service: str, source_url: str, bootstrap: str) -> OutboxConfig:
    """Without dead letters and clean-up: a row that Kafka can never take ends the process."""
    slot = f"tally_{service}_outbox"
    return OutboxConfig(
        name=service,
        source_url=source_url,
        bootstrap=bootstrap,
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
