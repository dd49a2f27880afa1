"""Outbox connectors by their names: those that keep a topic of unpublished rows and requests in this cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from connectors.outbox.config import OutboxConfig
from connectors.outbox.waiting.asking import connector_named
from tally.cli.failures import NotFound
from tally.cli.kafka import address, administering

_PREFIX, _SUFFIX = "connect-outbox-", "-waiting"

Connector = Annotated[
    str | None, typer.Option("--connector", help="Name of the connector (default: every connector there is).")
]


def connectors(name: str | None, bootstrap: str | None) -> list[OutboxConfig]:
    """The connectors that keep unpublished rows in this cluster, or the one named. Raises NotFound."""
    with administering(bootstrap) as client:
        topics = client.list_topics(timeout=10).topics
    names = [topic[len(_PREFIX) : -len(_SUFFIX)] for topic in topics if topic.startswith(_PREFIX)]
    found = sorted(known for known in names if f"{_PREFIX}{known}{_SUFFIX}" in topics and name in (None, known))
    if name is not None and not found:
        raise NotFound(f"no connector {name} keeps unpublished rows here")
    return [connector_named(known, address(bootstrap)) for known in found]
