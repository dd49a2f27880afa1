"""A worker process on a real Kafka: commands in, events out, rows over HTTP, dead letters, deadlines."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

from schemas.envelope import Envelope, Message, new_id, now
from schemas.messages import (
    ActOnSaga,
    AdjustStock,
    OrderCancelled,
    OrderShipped,
    ReceiveStock,
    StockReceived,
    wire_type,
)
from schemas.partitioning import partition_of
from schemas.topics import (
    AUDIT_TRAIL,
    DEAD_LETTERS,
    INVENTORY_COMMANDS,
    INVENTORY_EVENTS,
    ORDERS_BY_CUSTOMER_REKEY,
    ORDERS_EVENTS,
    SAGAS_DEADLINES,
    SAGAS_EVENTS,
    SAGAS_REPLIES,
)


@pytest.fixture(scope="module")
def worker(tally_kafka: str, tmp_path_factory: pytest.TempPathFactory, worker_class: type) -> Iterator[Any]:
    running = worker_class(tally_kafka, 0, tmp_path_factory.mktemp("worker") / "worker.log")
    yield running.wait_alone()
    assert running.stop() == 0


@pytest.fixture
def unique() -> str:
    return uuid.uuid4().hex[:8]


def _received(worker: Any, log: Any, until: Callable[..., Any], sku: str, quantity: int) -> None:
    id_ = log.command(ReceiveStock(quantity), sku)
    log.flush()
    answer = worker.get(f"/tables/stock_commands/{id_}", wait_ms=60_000)
    assert answer.json()["value"]["outcome"] == "DONE"


def _order(worker: Any, order_id: str, version: int) -> dict[str, Any]:
    answer = worker.get(f"/tables/orders/{order_id}", version=version, wait_ms=60_000)
    assert answer.status_code == 200, answer.text
    row: dict[str, Any] = answer.json()["value"]
    return row


def _saga_in(worker: Any, order_id: str, state: str) -> Callable[[], bool]:
    def is_so() -> bool:
        answer = worker.get(f"/sagas/{order_id}")
        return answer.status_code == 200 and answer.json()["state"] == state

    return is_so


def test_an_order_goes_the_whole_way_and_every_table_shows_it(
    worker: Any, log: Any, services: Any, until: Callable[..., Any], unique: str
) -> None:
    sku, order_id, customer = f"sku-{unique}", f"order-{unique}", f"customer {unique}"
    _received(worker, log, until, sku, 10)
    services.place(order_id, [(sku, 3), (sku, 2)], customer)
    row = _order(worker, order_id, 2)
    assert (row["status"], row["reason"], row["total_minor"]) == ("CONFIRMED", None, 500)
    until(_saga_in(worker, order_id, "CONFIRMED"), "the saga ends")
    stock = worker.get(f"/tables/stock/{sku}", version=3, wait_ms=10_000).json()
    assert {k: stock["value"][k] for k in ("on_hand", "reserved", "available")} == {
        "on_hand": 10,
        "reserved": 5,
        "available": 5,
    }
    assert stock["worker"] == "worker-0"
    assert stock["changelog_offset"] >= 0
    assert stock["age_ms"] is not None

    def page() -> Any:
        found = worker.get("/tables/orders_by_customer", prefix=f"{customer}\x1f").json()
        return found if found["items"] and found["items"][0]["value"]["status"] == "CONFIRMED" else None

    assert [item["value"]["id"] for item in until(page, "the customer's list")["items"]] == [order_id]
    services.append(order_id, OrderShipped(), "SHIPPED")
    until(_saga_in(worker, order_id, "SHIPPED"), "the goods leave")
    assert worker.row("stock_levels", sku)["on_hand"] == 5


def test_refusals_reject_the_order_with_their_reason(
    worker: Any, log: Any, services: Any, until: Callable[..., Any], unique: str
) -> None:
    sku = f"sku-{unique}"
    _received(worker, log, until, sku, 4)
    services.decline.add(f"declined-{unique}")
    services.place(f"short-{unique}", [(sku, 1), (sku, 9)])
    services.place(f"unknown-{unique}", [(f"no-{sku}", 1)])
    services.place(f"declined-{unique}", [(sku, 1)])
    for name, reason in (("short", "INSUFFICIENT_STOCK"), ("unknown", "UNKNOWN_SKU"), ("declined", "PAYMENT_DECLINED")):
        row = _order(worker, f"{name}-{unique}", 2)
        assert (row["status"], row["reason"]) == ("REJECTED", reason)
        until(_saga_in(worker, f"{name}-{unique}", "REJECTED"), "the saga ends")
    assert worker.row("stock_levels", sku)["reserved"] == 0


def test_a_cancelled_order_gives_back_what_it_held(
    worker: Any, log: Any, services: Any, until: Callable[..., Any], unique: str
) -> None:
    sku, order_id = f"sku-{unique}", f"order-{unique}"
    _received(worker, log, until, sku, 4)
    services.place(order_id, [(sku, 4)])
    until(_saga_in(worker, order_id, "CONFIRMED"), "the order is confirmed")
    services.append(order_id, OrderCancelled("changed my mind"), "CANCELLED")
    until(_saga_in(worker, order_id, "CANCELLED"), "all is given back")
    assert worker.row("stock_levels", sku)["reserved"] == 0
    assert services.payments[order_id] == "VoidPayment"


def test_an_order_of_1114_lines_works(
    worker: Any, log: Any, services: Any, until: Callable[..., Any], unique: str
) -> None:
    skus = [f"sku-{unique}-{n}" for n in range(40)]
    for sku in skus:
        log.command(ReceiveStock(80_995), sku)
    log.flush()
    services.place(f"order-{unique}", [(skus[n % 40], 80_995 if n < 1 else 1) for n in range(1, 1115)])
    until(_saga_in(worker, f"order-{unique}", "CONFIRMED"), "the long order is confirmed")


@pytest.mark.parametrize(
    "topic",
    [
        INVENTORY_COMMANDS,
        ORDERS_EVENTS,
        SAGAS_REPLIES,
        SAGAS_DEADLINES,
        INVENTORY_EVENTS,
        ORDERS_BY_CUSTOMER_REKEY,
    ],
)
def test_what_cannot_be_read_becomes_a_dead_letter_and_the_flow_goes_on(
    worker: Any, log: Any, services: Any, until: Callable[..., Any], unique: str, topic: str
) -> None:
    poison = f"poison {unique}".encode()
    sku, order_id = f"sku-{unique}", f"order-{unique}"
    for key in (sku, order_id, "customer"):
        # What has the same key would wait behind it: see test_letters.
        log.send_raw(topic, f"another {key} {unique}".encode(), poison, [("note", b"by hand")])
    _received(worker, log, until, sku, 4)
    services.place(order_id, [(sku, 4)])
    until(_saga_in(worker, order_id, "CONFIRMED"), "the flow goes on")

    def letters() -> Any:
        found = [message.body for _, message in log.read(DEAD_LETTERS) if message.body.value == poison]
        # orders.events has two readers, and each has letters of its own.
        return found if len({(letter.partition, letter.offset) for letter in found}) == 3 else None

    for letter in until(letters, "all letters are there"):
        assert letter.topic == topic
        assert letter.error == "Undecodable"
        assert "ce_type is missing" in letter.reason or "is missing" in letter.reason
        assert letter.headers == {"note": b"by hand"}
        assert letter.offset is not None


def test_a_gap_in_a_history_is_a_dead_letter_and_other_keys_go_on(
    worker: Any, log: Any, until: Callable[..., Any], unique: str
) -> None:
    sku, body = f"gap-{unique}", StockReceived(5, None, 5, 0)
    envelope = Envelope(
        new_id(), wire_type(StockReceived), "/tally/inventory", "inventory", sku, 7, now(), new_id(), new_id()
    )
    log.send(INVENTORY_EVENTS, Message(envelope, body))
    log.flush()

    def letter() -> Any:
        found = [message.body for _, message in log.read(DEAD_LETTERS) if message.body.key == sku.encode()]
        return found[0] if found else None

    found = until(letter, "the letter is there")
    assert (found.error, found.reason) == ("HistoryGap", f"inventory/{sku}: version 7 came where 1 was expected")
    assert worker.row("stock", sku) is None


def test_a_silent_payment_provider_is_given_up_after_the_steps_deadline(
    worker: Any, log: Any, services: Any, until: Callable[..., Any], unique: str
) -> None:
    sku, order_id = f"sku-{unique}", f"order-{unique}"
    services.silent.add(order_id)
    _received(worker, log, until, sku, 4)
    services.place(order_id, [(sku, 4)])
    row = _order(worker, order_id, 2)
    assert (row["status"], row["reason"]) == ("REJECTED", "TIMED_OUT")
    saga = worker.get(f"/sagas/{order_id}").json()
    assert saga["state"] == "COMPENSATING"
    assert [waits["step"] for waits in saga["waiting_for"]] in (["void"], ["release", "void"])
    assert order_id in [item["order_id"] for item in worker.get("/sagas", state="compensating").json()["items"]]
    services.silent.discard(order_id)
    until(_saga_in(worker, order_id, "REJECTED"), "the void was asked for again and answered")
    events = [m.body for _, m in log.read(SAGAS_EVENTS) if m.envelope.subject == order_id]
    assert [type(event).__name__ for event in events].count("SagaEnded") == 1


def test_a_saga_that_is_stuck_is_found_by_its_step_its_error_and_its_age_until_a_person_has_acted(
    worker: Any, log: Any, services: Any, until: Callable[..., Any], unique: str
) -> None:
    sku, order_id = f"sku-{unique}", f"order-{unique}"
    services.dispute.add(order_id)
    _received(worker, log, until, sku, 4)
    services.place(order_id, [(sku, 4)])
    until(_saga_in(worker, order_id, "STUCK"), "the capture is refused")

    def listed(**wanted: object) -> bool:
        return order_id in [item["order_id"] for item in worker.get("/sagas", **wanted).json()["items"]]

    assert listed(state="stuck")
    assert listed(state="stuck", step="capture", error="EXPIRED")
    for other in ({"state": "running"}, {"step": "ship"}, {"error": "DECLINED"}, {"older_s": 3_600}):
        assert not listed(**other)
    until(lambda: listed(step="capture", older_s=1), "it is older than a second")
    services.dispute.discard(order_id)
    id_ = new_id()
    envelope = Envelope(id_, wire_type(ActOnSaga), "/tally/cli", "sagas", order_id, None, now(), id_, id_)
    log.send(SAGAS_DEADLINES, Message(envelope, ActOnSaga("RETRY", "ann", "the card was renewed")))
    until(_saga_in(worker, order_id, "CONFIRMED"), "the capture is tried again")
    assert not listed(step="capture")
    (acted,) = [m.body for _, m in log.read(AUDIT_TRAIL) if m.envelope.subject == order_id]
    assert (acted.act, acted.by, acted.reason) == ("RETRY", "ann", "the card was renewed")


def test_pages_follow_each_other_through_a_customer(
    worker: Any, log: Any, services: Any, until: Callable[..., Any], unique: str
) -> None:
    customer = f"c-{unique}"
    for number in range(25):
        services.place(f"{unique}-{number:02}", [("nowhere", 1)], customer)
    # Another customer in the same partition, whose id begins like the first one's keys.
    longer = (f"{customer}\x1f{number}" for number in range(1_000))
    other = next(id_ for id_ in longer if partition_of(id_.encode(), 4) == partition_of(customer.encode(), 4))
    services.place(f"{unique}-other", [("nowhere", 1)], other)
    until(lambda: worker.row("orders_by_customer", quote(f"{other}\x1f{unique}-other")), "the other's order is listed")
    prefix = f"{customer}\x1f"

    def everything() -> Any:
        items = worker.get("/tables/orders_by_customer", prefix=prefix, limit=100).json()["items"]
        return items if [item["value"]["status"] for item in items].count("REJECTED") == 25 else None

    until(everything, "all orders are listed")
    seen: list[str] = []
    cursor = ""
    while True:
        page = worker.get("/tables/orders_by_customer", prefix=prefix, limit=10, cursor=cursor).json()
        seen += [item["value"]["id"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == [f"{unique}-{number:02}" for number in range(25)]
    assert len(worker.get("/tables/orders", prefix=f"{unique}-0", limit=100).json()["items"]) == 10


def test_a_refused_adjustment_is_answered_in_its_row(worker: Any, log: Any, unique: str) -> None:
    id_ = log.command(AdjustStock(-5, "lost"), f"sku-{unique}")
    log.flush()
    row = worker.get(f"/tables/stock_commands/{id_}", wait_ms=60_000).json()["value"]
    assert (row["outcome"], row["reason"], row["event_ids"]) == ("REFUSED", "BELOW_ZERO", [])


def test_reads_that_cannot_be_answered_say_why(worker: Any, log: Any, until: Callable[..., Any], unique: str) -> None:
    sku = f"sku-{unique}"
    _received(worker, log, until, sku, 4)
    late = worker.get(f"/tables/stock/{sku}", version=99, wait_ms=50)
    assert (late.status_code, late.headers["Retry-After"]) == (503, "1")
    assert late.headers["content-type"] == "application/problem+json"
    assert worker.get(f"/tables/stock/no-{sku}").status_code == 404
    assert worker.get("/tables/no-table/x").status_code == 404
    assert worker.get("/sagas/no-such-order").status_code == 404
    assert worker.get("/tables/orders", limit=0).status_code == 400
    assert worker.get("/tables/orders", limit="many").status_code == 400
    assert worker.get("/tables/orders", cursor="???").status_code == 400
    assert worker.get(f"/tables/stock/{sku}", version="x").status_code == 400


def test_probes_metrics_and_the_list_of_tables_are_there(worker: Any) -> None:
    assert [worker.get(path).status_code for path in ("/livez", "/readyz", "/startupz")] == [200] * 3
    metrics = worker.get("/metrics").text
    assert "tally_worker_records_total" in metrics
    assert 'tally_table_rows{partition="0",table="stock"}' in metrics
    tables = {table["name"]: table["partitions"] for table in worker.get("/tables").json()}
    assert tables["orders_by_customer"] == [0, 1, 2, 3]
