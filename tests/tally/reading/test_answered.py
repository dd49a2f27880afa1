"""Kafka's silence ends a read of what is there; the time that a reader takes with a record does not."""

from __future__ import annotations

import itertools
import threading

import pytest

from tally.reading.reader import Record, Unreachable, answered

RECORD = Record("t", 0, 0, 0, None, None, [])


def test_whoever_is_slow_with_a_record_is_not_told_that_kafka_is_silent() -> None:
    found = answered(iter([RECORD, None, RECORD]), within_s=0.05)
    for _ in range(2):
        assert next(found) == RECORD
        threading.Event().wait(0.1)
    assert next(found, None) is None


def test_silence_in_the_middle_of_what_is_there_is_told() -> None:
    found = answered(itertools.chain([RECORD], itertools.repeat(None)), within_s=0.05)
    assert next(found) == RECORD
    with pytest.raises(Unreachable, match="not answered"):
        next(found)
