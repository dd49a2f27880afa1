"""How long a connector rests between two tries."""

from __future__ import annotations

import threading

import pytest
from confluent_kafka.admin import AdminClient
from structlog.testing import capture_logs

from connectors.outbox.errors import ProducerLost, Refused
from connectors.outbox.metrics import Metrics
from connectors.outbox.retries import Retries


def retries() -> Retries:
    """With nobody to ask, and stopped already, so that no rest takes time."""
    stop = threading.Event()
    stop.set()
    return Retries(AdminClient({"bootstrap.servers": "127.0.0.1:1", "log_level": 0}), stop, Metrics(), 0.05)


def test_a_first_fault_may_be_tried_again_at_once_and_later_ones_wait_longer_each_time() -> None:
    waits = retries()
    with capture_logs() as logs:
        for _ in range(4):
            waits.rest("database lost", ProducerLost("x"), first_at_once=True)
        waits.went_well()
        waits.rest("database lost", ProducerLost("x"), first_at_once=True)
        waits.rest("batch aborted", ProducerLost("x"))
    assert [line["again_in_s"] for line in logs] == [0.0, 0.05, 0.1, 0.2, 0.0, 0.05]


def test_other_faults_never_go_without_a_rest() -> None:
    waits = retries()
    with capture_logs() as logs:
        waits.rest("batch aborted", ProducerLost("x"))
        waits.rest("database lost", ProducerLost("x"), first_at_once=True)
    assert [line["again_in_s"] for line in logs] == [0.05, 0.1]


def test_a_process_gives_up_after_many_producers_in_a_row() -> None:
    waits = retries()
    with pytest.raises(Refused, match="60 producers"):
        for _ in range(60):
            waits.rest_without_producer(ProducerLost("x"))
