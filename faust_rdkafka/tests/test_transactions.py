"""Each kind of librdkafka's errors is met by its own answer; a producer that answers by plan stands in for the broker."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from faust_rdkafka.errors import Abandoned, Fenced
from faust_rdkafka.stats import Stats
from faust_rdkafka.transaction import Content, Transactions

CALLS = ("begin_transaction", "send_offsets_to_transaction", "commit_transaction", "abort_transaction")


class PlannedProducer:
    """Fails the named calls in turn with the planned errors, and notes what was asked of it."""

    def __init__(self, failures: dict[str, list[KafkaError]]) -> None:
        self._failures = {name: deque(errors) for name, errors in failures.items()}
        self.calls: list[str] = []
        self.open: list[bytes | None] = []
        self.committed: list[bytes | None] = []

    def init_transactions(self, timeout: float) -> None:
        self._answer("init_transactions")

    def produce(self, topic: str, value: bytes | None, *rest: Any, **options: Any) -> None:
        self.open.append(value)

    def begin_transaction(self) -> None:
        self._answer("begin_transaction")

    def send_offsets_to_transaction(self, *arguments: Any) -> None:
        self._answer("send_offsets_to_transaction")

    def commit_transaction(self, timeout: float) -> None:
        self._answer("commit_transaction")
        self.committed, self.open = self.open, []

    def abort_transaction(self, timeout: float) -> None:
        self._answer("abort_transaction")
        self.open = []

    def _answer(self, name: str) -> None:
        self.calls.append(name)
        planned = self._failures.get(name)
        if planned:
            raise KafkaException(planned.popleft())


def error(code: int, *, fatal: bool = False, retriable: bool = False, abort: bool = False) -> KafkaError:
    return KafkaError(code, "planned", fatal, retriable, abort)


def ours() -> bool:
    return True


def content(still_ours: Callable[[], bool] = ours) -> Content:
    return Content([("out", b"k", b"v", -1, None, 0)], 1, [TopicPartition("src", 0, 1)], None, still_ours)


def planned(**failures: list[KafkaError]) -> tuple[PlannedProducer, Transactions, Stats]:
    producer, stats = PlannedProducer(failures), Stats()
    transactions = Transactions({}, stats, lambda config: producer)
    transactions.open()
    producer.calls.clear()
    return producer, transactions, stats


def test_a_batch_is_produced_then_its_offsets_are_sent_then_it_is_committed() -> None:
    producer, transactions, _ = planned()
    transactions.run(content())
    assert producer.calls == ["begin_transaction", "send_offsets_to_transaction", "commit_transaction"]
    assert producer.committed == [b"v"]


@pytest.mark.parametrize("call", CALLS[:3])
def test_a_retriable_error_makes_the_same_call_again(call: str) -> None:
    producer, transactions, stats = planned(**{call: [error(KafkaError._TRANSPORT, retriable=True)] * 2})
    transactions.run(content())
    assert producer.calls.count(call) == 3
    assert (producer.committed, stats.retries, stats.aborts) == ([b"v"], 2, 0)


def test_a_commit_that_times_out_is_asked_again_and_nothing_is_produced_twice() -> None:
    producer, transactions, stats = planned(commit_transaction=[error(KafkaError._TIMED_OUT, retriable=True)])
    transactions.run(content())
    assert producer.calls.count("begin_transaction") == 1
    assert (producer.committed, stats.retries) == ([b"v"], 1)


@pytest.mark.parametrize("call", CALLS[1:3])
def test_an_abortable_error_aborts_and_the_same_batch_is_committed_anew(call: str) -> None:
    producer, transactions, stats = planned(**{call: [error(KafkaError.COORDINATOR_NOT_AVAILABLE, abort=True)]})
    transactions.run(content())
    assert producer.calls.count("abort_transaction") == 1
    assert (producer.committed, stats.aborts) == ([b"v"], 1)


def test_an_error_both_retriable_and_abortable_aborts() -> None:
    both = error(KafkaError._TIMED_OUT, retriable=True, abort=True)
    producer, transactions, stats = planned(send_offsets_to_transaction=[both])
    transactions.run(content())
    assert (producer.calls.count("abort_transaction"), stats.retries) == (1, 0)


@pytest.mark.parametrize(
    "code", [KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID, KafkaError.REBALANCE_IN_PROGRESS]
)
def test_a_group_that_moved_on_means_abandoned_after_an_abort(code: int) -> None:
    producer, transactions, _ = planned(send_offsets_to_transaction=[error(code, abort=True)])
    with pytest.raises(Abandoned):
        transactions.run(content())
    assert producer.calls[-1] == "abort_transaction"
    assert producer.committed == []


def test_a_batch_whose_partitions_went_meanwhile_is_not_tried_again() -> None:
    producer, transactions, _ = planned(commit_transaction=[error(KafkaError.COORDINATOR_NOT_AVAILABLE, abort=True)])
    with pytest.raises(Abandoned):
        transactions.run(content(lambda: False))
    assert producer.calls.count("begin_transaction") == 1


@pytest.mark.parametrize("call", CALLS[:3])
@pytest.mark.parametrize(
    "met",
    [
        error(KafkaError._FENCED, fatal=True),
        error(KafkaError.PRODUCER_FENCED),
        error(KafkaError.INVALID_PRODUCER_EPOCH),
        error(KafkaError.FENCED_INSTANCE_ID),
        error(KafkaError._STATE, fatal=True),
    ],
    ids=lambda met: met.name(),
)
def test_a_fatal_error_or_being_fenced_ends_it_without_an_abort(call: str, met: KafkaError) -> None:
    producer, transactions, _ = planned(**{call: [met]})
    with pytest.raises(Fenced):
        transactions.run(content())
    assert "abort_transaction" not in producer.calls


def test_an_abort_that_fails_ends_it() -> None:
    producer, transactions, _ = planned(
        commit_transaction=[error(KafkaError.COORDINATOR_NOT_AVAILABLE, abort=True)],
        abort_transaction=[error(KafkaError._FATAL, fatal=True)],
    )
    with pytest.raises(Fenced):
        transactions.run(content())
    assert producer.calls[-1] == "abort_transaction"


def test_a_transaction_that_the_broker_does_not_know_is_left_to_a_new_producer() -> None:
    producer, transactions, _ = planned(
        commit_transaction=[error(KafkaError.COORDINATOR_NOT_AVAILABLE, abort=True)],
        abort_transaction=[error(KafkaError.INVALID_TXN_STATE, fatal=True)],
    )
    transactions.run(content())
    assert producer.calls.count("init_transactions") == 1
    assert producer.committed[-1:] == [b"v"]


def test_a_worker_that_stops_does_not_wait_for_a_broker_that_is_away() -> None:
    producer, transactions, _ = planned(begin_transaction=[error(KafkaError._TRANSPORT, retriable=True)] * 3)
    transactions.stopping.set()
    with pytest.raises(Fenced, match="stopped"):
        transactions.run(content())
    assert producer.committed == []
