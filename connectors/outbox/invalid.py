"""What an outbox should not hold: not published, and a reason to end where the options say so."""

from __future__ import annotations

import time

import structlog

from connectors.outbox.config import OutboxConfig
from connectors.outbox.errors import InvalidOperation
from connectors.outbox.metrics import Metrics

_log = structlog.get_logger()

_WARN_EVERY_S = 60.0


class InvalidOperations:
    """Of one stream: counted, and told of once a minute."""

    def __init__(self, config: OutboxConfig, metrics: Metrics) -> None:
        self._is_fatal, self._metrics = config.routing.invalid_operation == "fatal", metrics
        self._warned_at = -_WARN_EVERY_S

    def pass_over(self, what: str) -> None:
        """Raises InvalidOperation if that is what they are to do."""
        self._metrics.skipped_operations_total += 1
        if self._is_fatal:
            raise InvalidOperation(what)
        if time.monotonic() - self._warned_at > _WARN_EVERY_S:
            self._warned_at = time.monotonic()
            _log.warning("not published", what=what, since_start=self._metrics.skipped_operations_total)
