"""Blue/green rebuilds by real workers on a real Kafka, asked for by the verbs that people type."""

from __future__ import annotations

from collections.abc import Callable
from getpass import getuser
from typing import Any

from confluent_kafka.admin import AdminClient

from schemas.messages import OrderCancelled
from schemas.topics import AUDIT_TRAIL, ORDERS_EVENTS


def _topics(kafka: str) -> set[str]:
    return set(AdminClient({"bootstrap.servers": kafka}).list_topics(timeout=10).topics)


def test_a_rekeyed_table_is_built_from_its_topic_equal_and_promoted(
    start: Callable[..., Any],
    verb: Callable[..., Any],
    log: Any,
    events: Any,
    until: Callable[..., Any],
    unique: str,
) -> None:
    worker = start().wait_alone()
    for n in range(40):
        events.order(f"{unique}-{n}", f"customer-{n % 5} {unique}")
    log.flush()
    prefix = f"customer-1 {unique}\x1f"

    def listed() -> list[str]:
        page = worker.get("/tables/orders_by_customer", prefix=prefix).json()
        return [item["value"]["id"] for item in page["items"]]

    until(lambda: len(listed()) == 8, "all are listed")
    built = verb("build", "orders_by_customer", "--wait")
    assert built == {"table": "orders_by_customer", "building": 2}
    # In step: what comes now is in both at once.
    events.order(f"{unique}-more", f"customer-1 {unique}")
    log.flush()
    until(lambda: len(listed()) == 9, "the new one is listed")
    compared = verb("diff", "orders_by_customer")
    assert [each["differ"] for each in compared["partitions"]] == [0] * 4
    assert sum(each["built"] for each in compared["partitions"]) == 41
    assert verb("promote", "orders_by_customer") == {"table": "orders_by_customer", "served": 2}
    assert len(listed()) == 9
    events.order(f"{unique}-last", f"customer-1 {unique}")
    log.flush()
    until(lambda: len(listed()) == 10, "the promoted version goes on")
    assert verb("builds") == []
    assert until(lambda: worker.get("/tables/rebuilds").json()["items"] == [], "its progress is forgotten")


def test_what_a_new_fold_cannot_take_is_its_fault_alone(
    start: Callable[..., Any], verb: Callable[..., Any], log: Any, events: Any, unique: str, row_of: Any
) -> None:
    worker = start().wait_alone()
    events.order(f"{unique}-a", "unforeseen")
    events.order(f"{unique}-b", "unwritable")
    log.flush()
    for order in ("a", "b"):
        row_of(worker, "orders", f"{unique}-{order}", 1)
    verb("build", "orders", "--wait")
    told = worker.get("/rebuilds").json()
    assert told["served"]["orders"] == 1
    assert sum(row["faults"] for row in told["builds"]) == 2
    last = " ".join(row["last_fault"] or "" for row in told["builds"])
    assert "nobody thought" in last or "no JSON" in last
    verb("promote", "orders", expect=5)
    verb("discard", "orders")


def test_rows_of_a_new_fold_that_differ_are_shown_and_it_is_discarded_or_promoted(
    start: Callable[..., Any], verb: Callable[..., Any], kafka: str, log: Any, events: Any, unique: str, row_of: Any
) -> None:
    worker = start().wait_alone()
    events.order(f"{unique}-1", "somebody", lines=3)
    log.flush()
    before = row_of(worker, "orders", f"{unique}-1", 1)
    number = verb("build", "orders", "--wait")["building"]
    assert f"tally-orders-v{number}-changelog" in _topics(kafka)
    verb("build", "orders", expect=5)
    compared = verb("diff", "orders", "-n", "1000", expect=5)
    shown = {row["key"]: row for row in compared["rows"]}[f"{unique}-1"]
    assert shown["served"] == before
    assert shown["built"] == {**before, "line_count": 3}
    assert row_of(worker, "orders", f"{unique}-1", 1) == before
    assert verb("discard", "orders", "--reason", "a line too many") == {"table": "orders", "served": 1}
    assert f"tally-orders-v{number}-changelog" not in _topics(kafka)
    verb("discard", "orders", expect=5)
    verb("diff", "orders", expect=3)
    # A number never comes twice.
    assert verb("build", "orders", "--wait")["building"] == number + 1
    # The orders that its fold cannot take are still in the topic.
    verb("promote", "orders", "--despite-faults", "--reason", "customers ask for it")
    acts = [m.body for _, m in log.read(AUDIT_TRAIL) if m.envelope.subject == "orders" and m.body.version >= number]
    assert [(body.act, body.version, body.by, body.reason) for body in acts] == [
        ("BUILD", number, getuser(), ""),
        ("DISCARD", number, getuser(), "a line too many"),
        ("BUILD", number + 1, getuser(), ""),
        ("PROMOTE", number + 1, getuser(), "customers ask for it"),
    ]
    assert row_of(worker, "orders", f"{unique}-1", 1)["line_count"] == 3
    version = events.append(ORDERS_EVENTS, f"{unique}-1", OrderCancelled("changed my mind"))
    log.flush()
    row = row_of(worker, "orders", f"{unique}-1", version)
    assert (row["status"], row["line_count"]) == ("CANCELLED", 3)
    assert worker.stop() == 0
    # What is served after a restart is what the topic says.
    worker = start().wait_alone()
    assert row_of(worker, "orders", f"{unique}-1", version) == row
    assert worker.get("/rebuilds").json()["served"]["orders"] == number + 1
