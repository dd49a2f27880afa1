"""The follower on a real Kafka: after kills, aborted transactions and a topic made anew the index is the topic."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Producer
from structlog.testing import capture_logs

from schemas.codec import AvroCodec
from schemas.envelope import Envelope, Message, now
from schemas.histories import message_of
from schemas.messages import PaymentCaptured
from schemas.records import encode_record
from schemas.topics import PARTITIONS, PAYMENTS_EVENTS
from streams.histories.following import Follower
from streams.histories.index import HistoryIndex

CODEC = AvroCodec()
VERSION_MAX = (1 << 63) - 1


def event(subject: str, version: int) -> Message:
    """Of a payment: no agent of the worker reads those, so no test beside this one is disturbed."""
    envelope = Envelope(f"{subject}-{version}", "PAYMENT_CAPTURED", "/t", "payments", subject, version, now(), "c", "c")
    return Message(envelope, PaymentCaptured(subject, 100, "GBP", "tok_ok"))


def versions(follower: Follower, subject: str) -> list[int]:
    if follower.index is None:
        return []
    rows = follower.index.read("payments", subject, 1, VERSION_MAX)
    return [message_of(row, CODEC).envelope.version or 0 for row in rows]


@pytest.fixture
def subject() -> str:
    return f"o-{uuid.uuid4().hex[:8]}"


def test_a_follower_goes_on_where_it_stood_and_reads_nothing_that_was_aborted(
    tally_kafka: str, log: Any, tmp_path: Path, until: Callable[..., Any], subject: str
) -> None:
    def owned() -> set[int]:
        return set(range(PARTITIONS))

    log.send(PAYMENTS_EVENTS, event(subject, 1))
    log.flush()
    first = Follower(tally_kafka, tmp_path, owned)
    first.start()
    until(lambda: versions(first, subject) == [1], "the first event is indexed")
    first.stop()
    aborted = Producer({"bootstrap.servers": tally_kafka, "transactional.id": subject, "partitioner": "murmur2_random"})
    aborted.init_transactions()
    aborted.begin_transaction()
    key, value, headers = encode_record(event(subject, 2), CODEC)
    aborted.produce(PAYMENTS_EVENTS, value, key, headers=[*headers, ("ce_id", b"aborted")])
    aborted.flush()
    aborted.abort_transaction()
    for version in (2, 3):
        log.send(PAYMENTS_EVENTS, event(subject, version))
    log.flush()
    second = Follower(tally_kafka, tmp_path, owned)
    second.start()
    until(lambda: versions(second, subject) == [1, 2, 3], "the rest is indexed")
    assert second.index is not None
    assert second.index.forked == 0
    second.stop()


def overwritten(folder: Path) -> None:
    for file in folder.glob("*.sst"):
        file.write_bytes(b"\xff" * 200 + file.read_bytes()[200:])


def cut_off(folder: Path) -> None:
    for file in folder.glob("*.sst"):
        file.write_bytes(file.read_bytes()[:-100])


@pytest.mark.parametrize("damage", [overwritten, cut_off])
def test_an_index_whose_files_are_damaged_is_made_anew_from_the_topics(
    tally_kafka: str,
    log: Any,
    tmp_path: Path,
    until: Callable[..., Any],
    subject: str,
    damage: Callable[[Path], None],
) -> None:
    def owned() -> set[int]:
        return set(range(PARTITIONS))

    for version in (1, 2, 3):
        log.send(PAYMENTS_EVENTS, event(subject, version))
    log.flush()
    first = Follower(tally_kafka, tmp_path, owned)
    first.start()
    until(lambda: versions(first, subject) == [1, 2, 3], "the events are indexed")
    first.stop()
    # A store that is opened writes what its log holds into a file of its own.
    HistoryIndex(tmp_path).close()
    assert list(tmp_path.glob("*.sst"))
    damage(tmp_path)
    second = Follower(tally_kafka, tmp_path, owned)
    with capture_logs() as logs:
        second.start()
        until(lambda: versions(second, subject) == [1, 2, 3], "they are indexed again")
        second.stop()
    assert [entry["event"] for entry in logs if "damaged" in entry["event"]] != []


def test_a_killed_worker_has_the_whole_history_again(
    start_worker: Callable[..., Any], log: Any, until: Callable[..., Any], subject: str
) -> None:
    def told(worker: Any) -> list[int]:
        answer: httpx.Response = worker.get(f"/histories/payments/{subject}")
        if answer.status_code != 200:
            return []
        return [int(row["headers"]["aggregateversion"]) for row in answer.json()["items"]]

    worker = start_worker(0).wait_alone()
    for version in range(1, 1_501):
        log.send(PAYMENTS_EVENTS, event(subject, version))
    log.flush()
    until(lambda: told(worker), "some of it is indexed")
    worker.kill()
    worker = start_worker(0).wait_alone()
    until(lambda: told(worker) == list(range(1, 1_001)), "a page of it is there")
    until(
        lambda: len(worker.get(f"/histories/payments/{subject}", **{"from": 1001}).json()["items"]) == 500,
        "and the rest",
    )
    page = worker.get(f"/histories/payments/{subject}", **{"from": 1400, "to": 1402}).json()
    assert ([row["headers"]["aggregateversion"] for row in page["items"]], page["next"]) == (
        ["1400", "1401", "1402"],
        None,
    )
    assert worker.get(f"/histories/payments/{subject}").json()["next"] == 1001
    assert worker.get("/histories/carts/x").status_code == 404
    assert worker.get(f"/histories/payments/{subject}", **{"from": 0}).status_code == 400
