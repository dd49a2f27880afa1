"""Runs one connector to its end and gives the exit code."""

from __future__ import annotations

import threading

import structlog

from connectors.outbox.config import OutboxConfig
from connectors.outbox.connector import Connector
from connectors.outbox.errors import OutboxError
from connectors.outbox.metrics import Metrics
from connectors.outbox.polling.connector import PollingConnector
from connectors.outbox.standstill import Standstill
from connectors.outbox.steps import AtStep, pass_by
from connectors.outbox.watching import Watcher

_log = structlog.get_logger()


def run(config: OutboxConfig, stop: threading.Event, metrics: Metrics | None = None, at_step: AtStep = pass_by) -> int:
    """Carries until `stop` is set (0) or something does not pass (`errors.py` has the codes)."""
    figures = metrics if metrics is not None else Metrics()
    log = _log.bind(connector=config.name)
    try:
        with Standstill(figures):
            if config.polling is not None:
                PollingConnector(config, stop, figures, at_step).run()
            else:
                with Watcher(config, figures):
                    Connector(config, stop, figures, at_step).run()
    except OutboxError as error:
        figures.state, figures.ready = "FAILED", False
        log.error("gives up", verdict=type(error).__name__, reason=str(error), exit_code=error.exit_code)
        return error.exit_code or 1
    figures.state = "STOPPED"
    log.info("ended", rows=figures.rows_total)
    return 0
