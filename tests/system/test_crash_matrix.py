"""A real kill at every step of the order's saga and of its participants; afterwards the order has ended as it should.

A step is a moment (before and after each send, write, call and commit) and the message that is sent, written or
committed there. One process dies at it, its supervisor starts it again, and nothing else is done. Then
* the order, its saga and its payment have ended, the order's history says each thing once;
* the order's goods are on hand, held or gone exactly as it ended, and nothing waits as a dead letter;
* in the end the books balance.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import mortal_system
import pytest
from mortal_dying import PLAN, Plan
from running_system import Running, order, started, wait_for

ENDED_WITHIN_S = 90.0
ON_HAND = 10


@dataclass(frozen=True)
class Scenario:
    """One way of an order: what is ordered, what people do once it was confirmed, and how all ends.

    `lines` are quantities, each of a SKU of its own of which ON_HAND are there; `left` is (on hand, reserved) of each.
    """

    ends: str
    left: tuple[tuple[int, int], ...]
    money: str
    lines: tuple[int, ...] = (2,)
    reference: str = "tok_ok"
    acts: tuple[tuple[str, dict[str, Any] | None], ...] = ()
    events: tuple[str, ...] = field(default=())


SHIP = ("ship", None)
RETURN = ("returns", {"lines": [{"line": 1, "quantity": 1}]})
CREATED, CONFIRMED = "ORDER_CREATED", "ORDER_CONFIRMED"
SCENARIOS = {
    "confirmed": Scenario("CONFIRMED", ((10, 2),), "CAPTURED", events=(CREATED, CONFIRMED)),
    "declined": Scenario(
        "REJECTED", ((10, 0),), "DECLINED", reference="tok_decline", events=(CREATED, "ORDER_REJECTED")
    ),
    "short": Scenario("REJECTED", ((10, 0), (10, 0)), "UNKNOWN", lines=(2, 11), events=(CREATED, "ORDER_REJECTED")),
    "cancelled": Scenario(
        "CANCELLED", ((10, 0),), "REFUNDED", acts=(("cancel", None),), events=(CREATED, CONFIRMED, "ORDER_CANCELLED")
    ),
    "shipped": Scenario("SHIPPED", ((8, 0),), "CAPTURED", acts=(SHIP,), events=(CREATED, CONFIRMED, "ORDER_SHIPPED")),
    "returned": Scenario(
        "SHIPPED",
        ((9, 0),),
        "CAPTURED",
        acts=(SHIP, RETURN),
        events=(CREATED, CONFIRMED, "ORDER_SHIPPED", "ORDER_LINES_RETURNED"),
    ),
}

# By scenario, messages that first come in it: of the worker (saga and stock), and commands of the two services.
SENT_BY_WORKER = {
    "confirmed": (
        *("SAGA_STARTED", "RESERVE_STOCK", "STOCK_RESERVED", "COMMAND_ANSWERED"),
        *("AUTHORISE_PAYMENT", "CONFIRM_ORDER", "CAPTURE_PAYMENT", "SAGA_ENDED"),
    ),
    "short": ("RESERVATION_REFUSED", "RELEASE_STOCK", "RESERVATION_RELEASED", "REJECT_ORDER"),
    "cancelled": ("VOID_PAYMENT",),
    "shipped": ("SHIP_STOCK", "STOCK_SHIPPED"),
    "returned": ("REFUND_PAYMENT", "RETURN_STOCK", "STOCK_RETURNED"),
}
WORKED_BY_SINKS = {
    "confirmed": ("AUTHORISE_PAYMENT", "CONFIRM_ORDER", "CAPTURE_PAYMENT"),
    "declined": ("AUTHORISE_PAYMENT", "REJECT_ORDER"),
    "cancelled": ("VOID_PAYMENT",),
    "returned": ("REFUND_PAYMENT",),
}
CALLED = {"confirmed": ("authorise", "capture"), "cancelled": ("refund",), "returned": ("refund_part",)}
# The connector of the orders carries ORDER_CREATED, then ORDER_CONFIRMED; that of payments the request, then the rest.
CARRIED = tuple(
    f"{passes} connector {service} {step}"
    for service in ("orders", "payments")
    for step in ("batch_sent", "batch_stored")
    for passes in (0, 1)
)
SAMPLE = frozenset(
    {
        "worker before commit AUTHORISE_PAYMENT",
        "worker after commit CONFIRM_ORDER",
        "sink after commit CONFIRM_ORDER",
        "attempt after call capture",
    }
)


def matrix() -> list[Any]:
    """(scenario, step) of each cell; those outside the sample are slow."""
    cells = [("confirmed", step) for step in CARRIED]
    for who, moments, messages in (
        ("worker", ("before send", "after send", "before commit", "after commit", "after write"), SENT_BY_WORKER),
        ("sink", ("before write", "after write", "after commit"), WORKED_BY_SINKS),
        ("attempt", ("before call", "after call", "after commit"), CALLED),
    ):
        cells += [(name, f"{who} {at} {what}") for name, types in messages.items() for what in types for at in moments]
    return [
        pytest.param(
            name,
            step,
            marks=() if name == "confirmed" and step in SAMPLE else pytest.mark.slow,
            id=f"{name}-{step.replace(' ', '-')}",
        )
        for name, step in cells
    ]


@dataclass
class Shop:
    """A running system whose processes die where its plan says; whoever asks it is patient."""

    running: Running
    plan: Plan

    def ask(self, path: str) -> Any:
        """What it answers; nothing while who could answer is away."""
        try:
            with self.running.client() as client:
                answer = client.get(path)
        except httpx.TransportError:
            return {}
        return answer.json() if answer.is_success else {}

    def post(self, path: str, body: dict[str, Any] | None, answer_code: int) -> Any:
        """Under one key until it is answered so."""
        key, answers = uuid.uuid4().hex, []

        def is_answered() -> bool:
            with self.running.client() as client:
                answers.append(client.post(path, json=body, headers={"Idempotency-Key": key, "Prefer": "wait=5"}))
            return answers[-1].status_code == answer_code

        wait_for(is_answered, ENDED_WITHIN_S, f"{path} to be taken")
        return answers[-1].json()

    def wait_ended(self, order_id: str, status: str) -> None:
        """Until the order has this status and its saga has nothing more to do."""
        told: list[Any] = []

        def is_so() -> bool:
            saga = self.ask(f"/sagas/{order_id}")
            told[:] = [self.ask(f"/orders/{order_id}"), saga]
            return told[0].get("status") == status == saga.get("outcome") and not saga["waiting_for"]

        try:
            wait_for(is_so, ENDED_WITHIN_S, f"{order_id} to end as {status}")
        except AssertionError as error:
            raise AssertionError(f"{error}: {told}") from None


@pytest.fixture(scope="module")
def shop(request: pytest.FixtureRequest) -> Iterator[Shop]:
    script = Path(mortal_system.__file__)
    with started(request.session, lambda folder: [sys.executable, str(script), str(folder)], environment) as running:
        yield Shop(running, Plan(plan_file(running.data_dir)))


def plan_file(data_dir: Path) -> Path:
    return data_dir / "plan"


def environment(data_dir: Path) -> dict[str, str]:
    return {"PYTHONPATH": str(Path(mortal_system.__file__).parent), PLAN: str(plan_file(data_dir))}


@pytest.mark.parametrize(("name", "step"), matrix())
def test_a_kill_at_any_step_changes_nothing_of_how_an_order_ends(shop: Shop, name: str, step: str) -> None:
    scenario, skus = SCENARIOS[name], [f"sku-{uuid.uuid4().hex[:10]}" for _ in SCENARIOS[name].lines]
    for sku in skus:
        shop.post(f"/stock/{sku}/receipts", {"quantity": ON_HAND}, 200)
    passes, _, point = step.partition(" ") if step[0].isdigit() else ("0", "", step)
    shop.plan.write(point, int(passes))
    try:
        order_id = go_through(shop, scenario, skus)
        wait_for(lambda: shop.plan.is_spent, ENDED_WITHIN_S, f"somebody to die at {step}")
    finally:
        shop.plan.withdraw()
    check(shop, scenario, skus, order_id)


def go_through(shop: Shop, scenario: Scenario, skus: list[str]) -> str:
    body = order(*zip(skus, scenario.lines, strict=True), reference=scenario.reference)
    order_id: str = shop.post("/orders", body, 201)["order_id"]
    if scenario.acts:
        shop.wait_ended(order_id, "CONFIRMED")
    for act, told in scenario.acts:
        shop.post(f"/orders/{order_id}/{act}", told, 202)
        if act == "ship":
            shop.wait_ended(order_id, "SHIPPED")
    return order_id


def check(shop: Shop, scenario: Scenario, skus: list[str], order_id: str) -> None:
    shop.wait_ended(order_id, scenario.ends)
    for sku, left in zip(skus, scenario.left, strict=True):
        wait_for(lambda sku=sku, left=left: stock(shop, sku) == left, ENDED_WITHIN_S, f"{left} of {sku}")
    shop.wait_ended(order_id, scenario.ends)
    wait_for(lambda: len(history(shop, order_id)) >= len(scenario.events), ENDED_WITHIN_S, "the order's history")
    assert history(shop, order_id) == scenario.events
    wait_for(lambda: "items" in shop.ask("/dead-letters"), ENDED_WITHIN_S, "an answer on dead letters")
    assert shop.ask("/dead-letters")["items"] == []
    money = httpx.get(f"{shop.running.endpoints['payment_provider']}/payments/{order_id}").json()
    assert money["status"] == scenario.money


def stock(shop: Shop, sku: str) -> tuple[int, int] | None:
    found = shop.ask(f"/stock/{sku}")
    return (found["on_hand"], found["reserved"]) if found else None


def history(shop: Shop, order_id: str) -> tuple[str, ...]:
    return tuple(event["type"] for event in shop.ask(f"/orders/{order_id}/events"))


def test_after_all_of_it_the_books_balance_and_nobody_is_left_over(shop: Shop) -> None:
    verdict = json.loads(shop.running.tally("audit", "-f", "json"))
    assert verdict["ok"], verdict["findings"]
    sagas = json.loads(shop.running.tally("sagas", "list", "-n", "1000", "-f", "json"))
    assert {saga["status"] for saga in sagas} <= {scenario.ends for scenario in SCENARIOS.values()}
