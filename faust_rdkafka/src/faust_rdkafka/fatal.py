"""How a worker ends when it cannot go on."""

from __future__ import annotations

import logging
import os

log = logging.getLogger(__name__)

EXIT_FATAL = 70  # EX_SOFTWARE of sysexits.h; a supervisor starts the worker again


def end_process(error: BaseException | None) -> None:
    """At once and without clean-up: what memory and Kafka hold may differ, and a restart reads both anew."""
    log.critical("worker ends: %r", error, exc_info=error)
    logging.shutdown()
    os._exit(EXIT_FATAL)
