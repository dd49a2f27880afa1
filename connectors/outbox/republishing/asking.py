"""What a person asks of a running connector: rows of the table once more, how far that is, and that it end.

As with a redrive the request is a record in the connector's own topic, and only the connector's owner writes rows.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import replace

from connectors.outbox.config import OutboxConfig
from connectors.outbox.republishing.asked import REPUBLISH, Progress, Republish
from connectors.outbox.waiting.asking import send
from connectors.outbox.waiting.topic import read_waiting

_LOOK_AGAIN_S = 0.3


def ask_republish(config: OutboxConfig, request: Republish) -> bytes:
    """Sends the request; gives its key. Raises ProducerLost."""
    key = REPUBLISH + uuid.uuid4().hex.encode()
    send(config, key, request.to_json())
    return key


def republishing(config: OutboxConfig) -> dict[bytes, Republish]:
    """Every request that is there, by key, the ended ones too. Raises ProducerLost."""
    return read_waiting(config).republish


def cancel(config: OutboxConfig, key: bytes, request: Republish) -> None:
    """The connector ends the request where it stands. Raises ProducerLost."""
    send(config, key, replace(request, cancelled=True).to_json())


def until_republished(
    config: OutboxConfig, key: bytes, silent_max_s: float, tell: Callable[[Progress], None]
) -> Progress | None:
    """Waits for the end and takes the request away; None when for so long nothing moved, as when no connector runs.

    `tell` hears of each progress. Raises ProducerLost.
    """
    last, moved_at = Progress(), time.monotonic()
    while (request := republishing(config).get(key)) is not None:
        progress = request.progress
        if progress.done:
            send(config, key, None)
            return progress
        if progress != last:
            last, moved_at = progress, time.monotonic()
            tell(progress)
        if time.monotonic() - moved_at > silent_max_s:
            return None
        time.sleep(_LOOK_AGAIN_S)
    return last
