"""Turns librdkafka's own lines into log lines of ours."""

from __future__ import annotations

import logging

import structlog

_log = structlog.get_logger()


class _ToStructlog(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _log.log(record.levelno, "librdkafka", said=record.getMessage())


def kafka_logger() -> logging.Logger:
    """For a client's `logger=`. Its lines come out when the client is polled.

    A logger of its own for each client, beside logging's global tree: nobody else's handlers print the line again.
    """
    logger = logging.Logger("librdkafka", logging.DEBUG)
    logger.addHandler(_ToStructlog())
    return logger
