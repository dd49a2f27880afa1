"""Pauses between two tries of a connector, each longer than the last, and the end of its patience with producers."""

from __future__ import annotations

import threading

import structlog
from confluent_kafka.admin import AdminClient

from connectors.outbox.errors import OutboxError, Refused, first_line
from connectors.outbox.metrics import Metrics
from connectors.outbox.publisher import Publisher

_log = structlog.get_logger()

_BACKOFF_MAX_S = 5.0
# A process that builds producer after producer may fence a good one each time: it must give up some time.
_PRODUCERS_LOST_MAX = 60


class Retries:
    """Of one connector; the first pause after something went well is `first_s` seconds."""

    def __init__(self, admin: AdminClient, stop: threading.Event, metrics: Metrics, first_s: float) -> None:
        self._admin, self._stop, self._metrics, self._first_s = admin, stop, metrics, first_s
        self.went_well()

    def went_well(self) -> None:
        """The next fault is the first again."""
        self._backoff_s, self._producers_lost, self._has_failed = self._first_s, 0, False

    def rest(self, what: str, error: Exception, first_at_once: bool = False) -> None:
        """Tells why, and waits; a stop ends the wait. `first_at_once`: not before the first try after something went well."""
        rest_s = self._backoff_s
        if first_at_once and not self._has_failed:
            rest_s = 0.0
        else:
            self._backoff_s = min(self._backoff_s * 2, _BACKOFF_MAX_S)
        self._has_failed = True
        self._metrics.state = "WAITING"
        self._metrics.beat()
        _log.warning(what, error=first_line(error), again_in_s=round(rest_s, 2))
        self._admin.poll(0)  # its log lines come out only so
        self._stop.wait(rest_s)

    def rest_without_producer(self, error: OutboxError) -> None:
        """As `rest`. Raises Refused after too many in a row."""
        self._producers_lost += 1
        if self._producers_lost >= _PRODUCERS_LOST_MAX:
            raise Refused(f"{self._producers_lost} producers in a row failed, the last with: {error}")
        self.rest("producer lost", error)


def abort_last_batch(publisher: Publisher | None) -> None:
    """What is left open would hold up every reader until Kafka's own time-out."""
    if publisher is not None:
        try:
            publisher.abort()
        except OutboxError as error:
            _log.warning("the open batch is left to kafka's time-out", error=first_line(error))
