"""Each process is killed once (kill -9) while orders flow; at the end the books must balance and every order has ended."""

from __future__ import annotations

import json
import threading
import time
import uuid
from typing import Any

import httpx
from running_system import Running, order, wait_for

SKUS = [f"kill-{number}" for number in range(8)]
ORDERS_PER_S = 12
ORDERS_BETWEEN_KILLS = 12
PROCESSES = (
    "worker-0",
    "connector-orders",
    "connector-payments",
    "sink-orders",
    "sink-payments",
    "sink-copies",
    "payment-sandbox",
    "api",
    "valkey",
    "postgres",
    "kafka",
)


class Shop(threading.Thread):
    """Places orders at a steady rate until told to stop; each is tried with its own key until it was taken."""

    def __init__(self, running: Running) -> None:
        super().__init__(daemon=True)
        self.running, self.stopping = running, threading.Event()
        self.placed: list[str] = []

    def run(self) -> None:
        number = 0
        while not self.stopping.wait(1 / ORDERS_PER_S):
            number += 1
            reference = {0: "tok_decline", 1: "tok_flaky"}.get(number % 15, "tok_ok")
            lines = [(SKUS[(number + place) % len(SKUS)], 1 + (number + place) % 3) for place in range(3)]
            self.placed.append(self.place(order(*lines, reference=reference)))
            if number % 9 == 0:
                self._cancel(self.placed[number // 2])

    def place(self, body: dict[str, Any]) -> str:
        """The order's id, once it was taken."""
        answer = self._until_answered("/orders", body, uuid.uuid4().hex)
        assert answer.status_code == 201, answer.text
        order_id: str = answer.json()["order_id"]
        return order_id

    def _cancel(self, order_id: str) -> None:
        answer = self._until_answered(f"/orders/{order_id}/cancel", None, uuid.uuid4().hex)
        assert answer.status_code in (202, 409), answer.text

    def _until_answered(self, path: str, body: dict[str, Any] | None, key: str) -> httpx.Response:
        """The same key each time: what was taken once is not taken again (G6)."""
        while True:
            try:
                with self.running.client() as client:
                    answer = client.post(path, json=body, headers={"Idempotency-Key": key})
                if answer.status_code < 500 and not (answer.status_code == 409 and "Retry-After" in answer.headers):
                    return answer
            except (httpx.TransportError, FileNotFoundError):
                pass  # the API, or the file with its address, is away for a moment
            self.stopping.wait(0.1)


def test_every_process_is_killed_once_and_every_promise_holds(running: Running) -> None:
    for sku in SKUS:
        running.receive(sku, 150)
    shop = Shop(running)
    shop.start()
    for name in PROCESSES:
        before = len(shop.placed)
        wait_for(lambda before=before: len(shop.placed) >= before + ORDERS_BETWEEN_KILLS, 90, "orders before a kill")
        running.kill(name)
    after = len(shop.placed)
    wait_for(lambda: len(shop.placed) >= after + ORDERS_BETWEEN_KILLS, 90, "orders after the last kill")
    shop.stopping.set()
    shop.join(60)
    assert not shop.is_alive()
    ended_by = time.monotonic() + 150
    for order_id in shop.placed:
        running.wait_status(
            order_id, "CONFIRMED", "REJECTED", "CANCELLED", within_s=max(1.0, ended_by - time.monotonic())
        )
    # An order may also have ended because a process stood still: after the kills every hop has to work.
    running.receive("after-the-kills", 1)
    running.wait_status(shop.place(order(("after-the-kills", 1))), "CONFIRMED")
    verdict = json.loads(running.tally("audit", "-f", "json"))
    assert verdict["ok"], verdict["findings"]
    assert verdict["figures"]["orders"] >= len(shop.placed)
