"""Orders by HTTP: placed once, read with tokens, cancelled and shipped."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest

from producers.orders.aggregate import ORDERS
from producers.store.deciding import handle_with_retries
from producers.store.postgres import PostgresEventStore
from schemas.codec import AvroCodec
from schemas.envelope import Envelope, Message, new_id, now
from schemas.messages import ConfirmOrder, RejectOrder, wire_type
from schemas.partitioning import partition_of
from tally.local.databases import ServiceDatabase


def row(order_id: str, version: int, status: str = "CREATED") -> dict[str, Any]:
    return {"id": order_id, "status": status, "version": version}


def decide(api: Any, order_id: str, body: object) -> None:
    """What a command of the saga would do."""
    id_ = new_id()
    envelope = Envelope(id_, wire_type(type(body)), "/tally/sagas", "orders", order_id, None, now(), id_, id_)
    handle_with_retries(PostgresEventStore(api.pool, AvroCodec()), ORDERS, Message(envelope, body), now())


def test_an_order_is_placed_with_location_and_token(api: Any) -> None:
    response = api.place()
    order_id = response.json()["order_id"]
    assert response.status_code == 201
    assert response.json() == {"order_id": order_id, "version": 1}
    assert response.headers["Location"] == f"/orders/{order_id}"
    assert response.headers["Consistency-Token"] == f"orders/{order_id}@1"


def test_repeated_skus_are_separate_lines(api: Any) -> None:
    line = {"sku": "85123A", "quantity": 1, "unit_price_minor": 100}
    order_id = api.place(lines=[line, line]).json()["order_id"]
    data = api.client.get(f"/orders/{order_id}/events").json()[0]["data"]
    assert [(kept["line"], kept["sku"]) for kept in data["lines"]] == [(1, "85123A"), (2, "85123A")]
    assert data["total_minor"] == 200


def test_the_same_key_gives_the_same_answer_and_one_order(api: Any) -> None:
    key = api.fresh_key()
    first = api.client.post("/orders", json=api.order(), headers=key)
    written = api.written()
    again = api.client.post("/orders", json=api.order(), headers=key)
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["Consistency-Token"] == first.headers["Consistency-Token"]
    assert api.written() == written


def test_the_same_key_with_another_body_is_422(api: Any) -> None:
    key = api.fresh_key()
    api.client.post("/orders", json=api.order(), headers=key)
    other = api.client.post("/orders", json=api.order(customer_id="other"), headers=key)
    assert (other.status_code, other.json()["type"]) == (422, "idempotency-key-reused")


def test_a_key_is_scoped_to_caller_and_route(api: Any) -> None:
    key = api.fresh_key()
    first = api.client.post("/orders", json=api.order(), headers=key).json()["order_id"]
    other = api.client.post("/orders", json=api.order(), headers={**key, "Authorization": "Bearer b"}).json()
    assert other["order_id"] != first
    assert api.client.post(f"/orders/{first}/cancel", headers=key).status_code == 202


def test_the_same_key_while_the_first_runs_is_409(api: Any) -> None:
    key = api.fresh_key()
    command_id = api.client.post("/orders", json=api.order(), headers=key)
    assert command_id.status_code == 201
    running = api.fresh_key()
    together, statuses = threading.Barrier(6), list[int]()

    def place() -> None:
        together.wait(60)
        statuses.append(api.client.post("/orders", json=api.order(), headers=running).status_code)

    threads = [threading.Thread(target=place) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert set(statuses) <= {201, 409}
    assert 201 in statuses
    with api.pool.connection() as connection:
        assert connection.execute("select count(*) from heads").fetchone() == (2,)


def test_the_answer_while_the_first_runs_says_when_to_ask_again(api: Any, orders_database: ServiceDatabase) -> None:
    key = api.fresh_key()
    held = api.client.post("/orders", json=api.order(), headers=key).json()["order_id"]
    with api.pool.connection() as connection:
        found = connection.execute("select id from commands").fetchone()
        assert found is not None
        connection.execute("select pg_advisory_xact_lock(hashtextextended(%s::uuid::text, 0))", (found[0],))
        assert api.client.post("/orders", json=api.order(), headers=key).json()["order_id"] == held
    with psycopg.connect(orders_database.owner_url) as owner:
        # The row is not there, yet somebody has the id in hand: the first request, before its commit.
        owner.execute("truncate commands")
        owner.commit()
        owner.execute("select pg_advisory_xact_lock(hashtextextended(%s::uuid::text, 0))", (found[0],))
        response = api.client.post("/orders", json=api.order(), headers=key)
    assert (response.status_code, response.json()["type"]) == (409, "idempotency-key-running")
    assert int(response.headers["Retry-After"]) >= 1


def test_a_head_held_by_a_prepared_transaction_is_409_with_retry_after(
    api: Any, orders_database: ServiceDatabase
) -> None:
    order_id = api.place().json()["order_id"]
    with psycopg.connect(orders_database.service_url, autocommit=True) as other:
        other.execute("begin")
        other.execute("update heads set version = version where aggregateid = %s", (order_id,))
        other.execute(f"prepare transaction 'held-{order_id}'")
        try:
            response = api.client.post(f"/orders/{order_id}/cancel", headers=api.fresh_key())
        finally:
            other.execute(f"rollback prepared 'held-{order_id}'")
    assert (response.status_code, response.json()["type"]) == (409, "busy")
    assert int(response.headers["Retry-After"]) >= 1


def test_an_order_is_cancelled_with_a_token(api: Any) -> None:
    order_id = api.place().json()["order_id"]
    response = api.client.post(f"/orders/{order_id}/cancel", headers=api.fresh_key())
    assert response.status_code == 202
    assert response.headers["Consistency-Token"] == f"orders/{order_id}@2"
    events = api.client.get(f"/orders/{order_id}/events").json()
    assert [event["type"] for event in events] == ["ORDER_CREATED", "ORDER_CANCELLED"]
    assert events[1]["data"] == {"reason": "CUSTOMER"}


def test_an_order_is_shipped_once_it_is_confirmed(api: Any) -> None:
    order_id = api.place().json()["order_id"]
    early = api.client.post(f"/orders/{order_id}/ship", headers=api.fresh_key())
    assert (early.status_code, early.json()["reason"]) == (409, "ORDER_IS_CREATED")
    decide(api, order_id, ConfirmOrder())
    assert api.client.post(f"/orders/{order_id}/ship", headers=api.fresh_key()).status_code == 202
    late = api.client.post(f"/orders/{order_id}/cancel", headers=api.fresh_key())
    assert (late.status_code, late.json()["type"], late.json()["reason"]) == (409, "wrong-status", "ORDER_IS_SHIPPED")


def take_back(api: Any, order_id: str, *lines: tuple[int, int], key: dict[str, str] | None = None) -> Any:
    body = {"lines": [{"line": line, "quantity": quantity} for line, quantity in lines]}
    return api.client.post(f"/orders/{order_id}/returns", json=body, headers=key or api.fresh_key())


def test_lines_of_a_shipped_order_come_back_with_a_token_and_once_a_key(api: Any) -> None:
    order_id = api.place().json()["order_id"]
    early = take_back(api, order_id, (1, 1))
    assert (early.status_code, early.json()["type"], early.json()["reason"]) == (
        409,
        "wrong-status",
        "ORDER_IS_CREATED",
    )
    decide(api, order_id, ConfirmOrder())
    api.client.post(f"/orders/{order_id}/ship", headers=api.fresh_key())
    key = api.fresh_key()
    first, again = take_back(api, order_id, (1, 2), key=key), take_back(api, order_id, (1, 2), key=key)
    assert (first.status_code, first.headers["Consistency-Token"]) == (202, f"orders/{order_id}@4")
    assert (again.status_code, again.json()) == (202, first.json())
    assert take_back(api, order_id, (1, 3), key=key).status_code == 422
    events = api.client.get(f"/orders/{order_id}/events").json()
    lines = [{"line": 1, "quantity": 2, "sku": "85123A"}]
    assert [event["data"] for event in events][3:] == [{"lines": lines, "refund_minor": 510}]
    then = api.client.get(f"/orders/{order_id}?version=4").json()
    assert (then["status"], then["returned"]) == ("SHIPPED", [{"line": 1, "quantity": 2}])


def test_a_return_of_too_much_or_of_nothing_that_was_ordered_is_409(api: Any) -> None:
    order_id = api.place().json()["order_id"]
    decide(api, order_id, ConfirmOrder())
    api.client.post(f"/orders/{order_id}/ship", headers=api.fresh_key())
    for line, type_ in (((1, 7), "returned-too-much"), ((2, 1), "unknown-line")):
        refused = take_back(api, order_id, line)
        assert (refused.status_code, refused.json()["type"]) == (409, type_)
    assert take_back(api, "nobody", (1, 1)).status_code == 404


def test_a_history_is_a_list_of_envelopes_by_version(api: Any) -> None:
    order_id = api.place().json()["order_id"]
    decide(api, order_id, RejectOrder("INSUFFICIENT_STOCK"))
    events = api.client.get(f"/orders/{order_id}/events").json()
    assert [set(event) for event in events] == [{"id", "type", "aggregateId", "data", "timestamp", "version"}] * 2
    assert [event["version"] for event in events] == [1, 2]


def test_an_order_is_read_from_its_copy_or_its_owner(api: Any) -> None:
    order_id = api.place().json()["order_id"]
    api.copies.rows["orders", order_id] = row(order_id, 1)
    response = api.client.get(f"/orders/{order_id}", headers={"Consistency-Token": f"orders/{order_id}@1"})
    assert (response.json()["version"], response.headers["ETag"], api.workers.asked) == (1, '"1"', [])
    api.workers.put("w0:1", "orders", order_id, row(order_id, 2, "CANCELLED"))
    response = api.client.get(f"/orders/{order_id}", headers={"Consistency-Token": f"orders/{order_id}@2"})
    assert (response.json()["status"], response.headers["ETag"]) == ("CANCELLED", '"2"')


def test_a_miss_is_no_404_but_asks_the_owner(api: Any) -> None:
    order_id = api.place().json()["order_id"]
    api.workers.put("w0:1", "orders", order_id, row(order_id, 1))
    assert api.client.get(f"/orders/{order_id}").status_code == 200


def test_a_version_not_reached_is_503_with_retry_after(api: Any) -> None:
    order_id = api.place().json()["order_id"]
    api.workers.put("w0:1", "orders", order_id, row(order_id, 1))
    wanted = {"Consistency-Token": f"orders/x@9, orders/{order_id}@2", "Prefer": "wait=0"}
    response = api.client.get(f"/orders/{order_id}", headers=wanted)
    assert (response.status_code, response.json()["type"]) == (503, "not-reached")
    assert int(response.headers["Retry-After"]) >= 1


def test_an_order_just_placed_is_waited_for(api: Any) -> None:
    order_id = api.place().json()["order_id"]

    def arrives() -> None:
        if len(api.workers.asked) == 3:
            api.workers.put("w0:1", "orders", order_id, row(order_id, 1))

    api.workers.before_get = arrives
    assert api.client.get(f"/orders/{order_id}").json()["version"] == 1


def test_an_order_that_stays_unknown_to_its_worker_is_503(api: Any) -> None:
    order_id = api.place().json()["order_id"]
    assert api.client.get(f"/orders/{order_id}", headers={"Prefer": "wait=0"}).status_code == 503


def test_the_owner_is_looked_up_anew_when_it_is_another(api: Any) -> None:
    order_id = api.place().json()["order_id"]
    api.workers.partitions["w0:1"] = set()
    api.owners.moves_to = dict.fromkeys(range(4), "w1:1")
    api.workers.put("w1:1", "orders", order_id, row(order_id, 1))
    assert api.client.get(f"/orders/{order_id}").json()["version"] == 1
    assert api.owners.anew == 1


def test_an_order_is_shown_as_it_was(api: Any) -> None:
    order_id = api.place().json()["order_id"]
    placed_at = api.client.get(f"/orders/{order_id}/events").json()[0]["timestamp"]
    decide(api, order_id, ConfirmOrder())
    then = api.client.get(f"/orders/{order_id}", params={"at": placed_at}).json()
    assert (then["status"], then["version"], then["created_at"]) == ("CREATED", 1, placed_at)
    before = api.client.get(f"/orders/{order_id}", params={"at": "2020-01-01T00:00:00Z"})
    assert before.status_code == 404
    assert api.client.get(f"/orders/{order_id}", params={"at": "2020-01-01T00:00:00"}).status_code == 422


def test_a_command_is_found_by_its_id(api: Any) -> None:
    order_id = api.place().json()["order_id"]
    with api.pool.connection() as connection:
        found = connection.execute("select id from commands").fetchone()
    assert found is not None
    command = api.client.get(f"/commands/{found[0]}").json()
    assert command["state"] == "DONE"
    assert (command["token"], command["refusal"], len(command["events"])) == (f"orders/{order_id}@1", None, 1)


def test_a_customers_orders_come_in_pages(api: Any) -> None:
    for number in range(3):
        api.workers.put("w0:1", "orders_by_customer", f"guest\x1f{number}", row(str(number), 1))
    api.workers.put("w0:1", "orders_by_customer", "guest2\x1f9", row("9", 1))
    first = api.client.get("/customers/guest/orders?limit=2").json()
    rest = api.client.get("/customers/guest/orders", params={"limit": 2, "cursor": first["next"]}).json()
    assert [item["id"] for item in first["items"] + rest["items"]] == ["0", "1", "2"]
    assert rest["next"] is None
    assert api.client.get("/customers/nobody/orders").json() == {"items": [], "next": None}


def test_a_list_of_orders_honours_the_token(api: Any) -> None:
    api.workers.put("w0:1", "orders_by_customer", "guest\x1f1", row("1", 1))
    headers = {"Consistency-Token": "orders/1@2", "Prefer": "wait=0"}
    assert api.client.get("/customers/guest/orders", headers=headers).status_code == 503
    headers["Consistency-Token"] = "orders/1@1"
    assert api.client.get("/customers/guest/orders", headers=headers).status_code == 200


def test_tables_are_forwarded_to_their_workers(api: Any) -> None:
    api.owners.by_partition = {0: "w0:1", 1: "w0:1", 2: "w1:1", 3: "w1:1"}
    for worker in ("w0:1", "w1:1"):
        for number in range(3):
            api.workers.put(worker, "stock", f"{worker}-{number}", {"version": 1})
    seen, cursor = list[str](), None
    for _ in range(10):
        page = api.client.get("/tables/stock", params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        seen += [item["key"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == [f"{worker}-{number}" for worker in ("w0:1", "w1:1") for number in range(3)]
    assert api.client.get("/tables").json() == [{"name": "orders"}]
    assert api.client.get("/tables/Robert'); drop").status_code == 422


@pytest.mark.parametrize("path", ["/livez", "/startupz", "/readyz"])
def test_probes_answer(api: Any, path: str) -> None:
    assert api.client.get(path).status_code == 200


def test_metrics_count_by_route_and_not_by_id(api: Any) -> None:
    api.client.get("/orders/4711/events")
    text = api.client.get("/metrics").text
    assert 'route="/orders/{order_id}/events"' in text
    assert "4711" not in text


def test_every_route_is_in_the_openapi_document(api: Any) -> None:
    paths = api.client.get("/openapi.json").json()["paths"]
    assert {"/orders", "/orders/{order_id}", "/orders/{order_id}/cancel", "/commands/{message_id}"} <= set(paths)


def test_a_customers_id_may_hold_what_separates_the_parts_of_keys(api: Any) -> None:
    assert api.place(customer_id="a\x1fb").status_code == 201
    partition = partition_of(b"a\x1fb", 4)
    api.owners.by_partition = {n: "w0:1" if n == partition else "w1:1" for n in range(4)}
    api.workers.put("w0:1", "orders_by_customer", "a\x1fb\x1f1", {"id": "1", "version": 1})
    headers = {"Consistency-Token": "orders/1@1"}
    response = api.client.get("/customers/a%1Fb/orders", headers=headers)
    assert [item["id"] for item in response.json()["items"]] == ["1"]
