"""`tally outbox republish`, against what a connector would answer."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from connectors.outbox.republishing.asked import Bounds, Progress, Republish
from connectors.outbox.republishing.asking import ask_republish, republishing
from connectors.outbox.waiting.asking import connector_named

Answer = Callable[..., Callable[[], Republish]]


@pytest.fixture
def connector(kafka: str) -> Iterator[str]:
    """Name of a connector that has a topic for requests."""
    name = f"republish-{uuid.uuid4().hex[:8]}"
    topic = connector_named(name, kafka).waiting_topic
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(topic, 1, 1, config={"cleanup.policy": "compact"})])[topic].result()
    yield name
    admin.delete_topics([topic])[topic].result()


@pytest.fixture
def answer(kafka: str, connector: str) -> Iterator[Answer]:
    """Answers a request, or its cancellation, with this progress, as a connector does; gives what was asked then."""
    config = connector_named(connector, kafka)
    threads: list[threading.Thread] = []
    asked: list[Republish] = []

    def begin(progress: Progress, cancelled: bool = False) -> Callable[[], Republish]:
        def work() -> None:
            while not (found := [one for one in republishing(config).items() if one[1].cancelled == cancelled]):
                pass
            ((key, request),) = found
            producer = Producer({"bootstrap.servers": kafka})
            producer.produce(config.waiting_topic, replace(request, progress=progress).to_json(), key)
            producer.flush()
            asked.append(request)

        threads.append(threading.Thread(target=work, daemon=True))
        threads[-1].start()

        def what() -> Republish:
            threads[-1].join(60)
            return asked[-1]

        return what

    yield begin
    for thread in threads:
        thread.join(60)


def test_what_was_sent_is_printed_and_the_request_taken_away(
    run: Any, kafka: str, connector: str, answer: Answer
) -> None:
    asked = answer(Progress(sent=12, held=1, done=True))
    result = run("outbox", "republish", "--key", "orders/7", "--rate", "50", "--connector", connector, kafka=kafka)
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout) == {"connector": connector, "sent": 12, "refused": 0, "held": 1, "fault": None}
    assert (asked().bounds, asked().rows_per_second) == (Bounds(aggregate="orders/7"), 50)
    assert republishing(connector_named(connector, kafka)) == {}


def test_bounds_of_time_and_ids_are_passed_on_and_a_dry_run_counts(
    run: Any, kafka: str, connector: str, answer: Answer
) -> None:
    asked = answer(Progress(sent=3, done=True))
    given = ["id1", "id2", "--from", "2026-11-25T12:00:00Z", "--to", "2026-11-25T13:00:00Z", "--time-column", "at"]
    result = run("outbox", "republish", *given, "--dry-run", "--connector", connector, kafka=kafka)
    assert json.loads(result.stdout) == {"connector": connector, "rows": 3, "fault": None}, result.stderr
    assert asked().dry_run
    assert asked().bounds == Bounds(("id1", "id2"), None, "2026-11-25T12:00:00.000Z", "2026-11-25T13:00:00.000Z", "at")


@pytest.mark.parametrize("progress", [Progress(fault="no such column", done=True), Progress(refused=2, done=True)])
def test_a_fault_and_refused_rows_are_a_no(
    run: Any, kafka: str, connector: str, answer: Answer, progress: Progress
) -> None:
    answer(progress)
    result = run("outbox", "republish", "--all", "--connector", connector, kafka=kafka)
    assert result.exit_code == 5
    assert (progress.fault or "2 rows were refused") in result.stderr


def test_what_goes_on_is_taken_back(run: Any, kafka: str, connector: str, answer: Answer) -> None:
    assert run("outbox", "republish", "--cancel", "--connector", connector, kafka=kafka).exit_code == 3
    ask_republish(connector_named(connector, kafka), Republish(Bounds()))
    answer(Progress(sent=1, done=True, fault="cancelled"), cancelled=True)
    assert run("outbox", "republish", "--cancel", "--connector", connector, kafka=kafka).exit_code == 0
    assert republishing(connector_named(connector, kafka)) == {}


@pytest.mark.parametrize(
    "arguments", [(), ("--all", "--key", "7"), ("--all", "--cancel"), ("--from", "soon"), ("--all", "--rate", "0")]
)
def test_it_must_be_said_what_is_meant(run: Any, kafka: str, connector: str, arguments: tuple[str, ...]) -> None:
    assert run("outbox", "republish", *arguments, "--connector", connector, kafka=kafka).exit_code == 2


def test_an_unknown_connector_is_not_found(run: Any, kafka: str) -> None:
    assert run("outbox", "republish", "--all", "--connector", "no-such", kafka=kafka).exit_code == 3
