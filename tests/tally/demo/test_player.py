"""The player against a shop in memory: the order of acts, duplicates, cancellations before and after shipping."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from tally.demo.dataset import Line
from tally.demo.ledger import Ledger
from tally.demo.plan import Act, AdjustAct, Adjustment, CancelAct, Lines, OrderAct, ReturnAct, SkipAct
from tally.demo.player import Pace, Player
from tally.demo.shop import Answer, Shop

FAST = 100_000.0


def order(number: str, posts: int = 1, ships: bool = False) -> OrderAct:
    return OrderAct(number, "c1", (Line("a", "", 1, 100),), "tok_ok", posts, ships)


@dataclass
class ShopInMemory:
    """Confirms every order at once, but rejects those of `refused`."""

    ledger: Ledger
    refused: set[str] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)

    async def place(self, act: OrderAct) -> Answer:
        self.calls.append(f"place {act.number}")
        self._later("REJECTED" if act.number in self.refused else "CONFIRMED", act.number)
        return Answer(201, {"order_id": act.number})

    async def adjust(self, key: str, adjustment: Adjustment) -> Answer:
        self.calls.append(f"adjust {adjustment.sku} {adjustment.quantity}")
        return Answer(409 if adjustment.quantity < -100 else 200, {})

    async def cancel(self, order_id: str) -> Answer:
        self.calls.append(f"cancel {order_id}")
        if order_id in self.refused:
            return Answer(409, {})
        self._later("CANCELLED", order_id)
        return Answer(202, {})

    async def ship(self, order_id: str) -> Answer:
        self.calls.append(f"ship {order_id}")
        self._later("SHIPPED", order_id)
        return Answer(202, {})

    async def take_back(self, key: str, order_id: str, lines: Lines) -> Answer:
        self.calls.append(f"{key} of {order_id}: {lines}")
        return Answer(202, {})

    def _later(self, status: str, order_id: str) -> None:
        asyncio.get_running_loop().call_soon(self.ledger.see, f"ORDER_{status}", order_id, None, 0.0)


def play(acts: list[Act], refused: set[str] | None = None, rate: float | None = FAST) -> tuple[Ledger, list[str]]:
    """What the ledger and the shop know after the acts."""

    async def run() -> tuple[Ledger, list[str]]:
        ledger = Ledger()
        shop = ShopInMemory(ledger, refused or set())
        player = Player(shop, ledger, Pace(rate, len(acts)), lambda line: None)
        await player.play(acts)
        return ledger, shop.calls

    return asyncio.run(run())


def test_an_order_posted_twice_is_one_order() -> None:
    ledger, calls = play([order("1", posts=2), order("2")])
    assert calls.count("place 1") == 2
    assert ledger.counts["duplicates dropped"] == 1
    assert ledger.statuses == {"CONFIRMED": 2}
    assert ledger.troubles == []


def test_an_order_is_cancelled_before_it_ships() -> None:
    ledger, calls = play([order("1", ships=True), CancelAct("C2", "1", ((1, 1),))])
    assert "cancel 1" in calls
    assert "ship 1" not in calls
    assert ledger.statuses == {"CANCELLED": 1}


def test_goods_that_left_come_back_as_a_return() -> None:
    between = [SkipAct(f"A{number}") for number in range(200)]
    others = [order(str(number)) for number in range(10, 13)]
    acts: list[Act] = [order("1", ships=True), *between, *others, CancelAct("C2", "1", ((1, 1),))]
    # Slow enough for the order to leave between the first and the last.
    ledger, calls = play(acts, rate=20)
    assert "cancel 1" not in calls
    assert calls[-1] == "return/C2 of 1: ((1, 1),)"
    assert ledger.counts["cancellations after shipping"] == 1
    assert ledger.statuses == {"SHIPPED": 1, "CONFIRMED": 3}


def test_nothing_comes_back_of_an_order_that_was_rejected() -> None:
    ledger, calls = play([order("1"), CancelAct("C2", "1", ((1, 1),))], refused={"1"})
    assert not any(call.startswith("return") for call in calls)
    assert ledger.counts["cancellations of rejected orders"] == 1
    assert ledger.troubles == []


def test_lines_come_back_of_an_order_that_leaves_first_and_the_rest_is_adjusted() -> None:
    back = ReturnAct("C2", "1", ((1, 1),), (Adjustment("a", 2, "unmatched-return"),))
    ledger, calls = play([order("1"), back])
    assert calls == ["place 1", "adjust a 2", "ship 1", "return/C2 of 1: ((1, 1),)"]
    assert ledger.counts["returns"] == 1
    assert ledger.statuses == {"SHIPPED": 1}


def test_nothing_is_returned_of_an_order_that_was_rejected() -> None:
    ledger, calls = play([order("1"), ReturnAct("C2", "1", ((1, 1),), ())], refused={"1"})
    assert calls == ["place 1"]
    assert ledger.counts["returns of rejected orders"] == 1


def test_a_write_off_below_zero_is_counted_as_refused() -> None:
    adjustments = (Adjustment("a", -1, "broken"), Adjustment("a", -500, "broken"))
    ledger, _ = play([AdjustAct("3", adjustments)])
    assert (ledger.counts["adjustments"], ledger.counts["adjustments refused"]) == (1, 1)


def transport(answers: list[httpx.Response | Exception], seen: list[str]) -> Callable[[httpx.Request], httpx.Response]:
    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["idempotency-key"])
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return handle


def test_a_post_is_sent_again_under_its_key_until_it_is_answered() -> None:
    seen: list[str] = []
    answers: list[httpx.Response | Exception] = [
        httpx.ConnectError("away"),
        httpx.Response(503, headers={"retry-after": "0"}),
        httpx.Response(409, headers={"retry-after": "0"}),
        httpx.Response(201, json={"order_id": "o1"}),
    ]

    async def run() -> tuple[Answer, int]:
        ledger = Ledger()
        async with Shop("http://shop", ledger, httpx.MockTransport(transport(answers, seen))) as shop:
            return await shop.place(order("1")), ledger.counts["posts sent again"]

    answer, again = asyncio.run(run())
    assert (answer.status, answer.body["order_id"], again) == (201, "o1", 3)
    assert set(seen) == {"online-retail/1"}


def test_without_a_rate_the_last_half_comes_steadily_after_the_first_has_landed() -> None:
    ledger, calls = play([order(str(number)) for number in range(8)], rate=None)
    assert ledger.statuses == {"CONFIRMED": 8}
    assert len(calls) == 8
    pace = Pace(None, 8)
    phases = []
    for _ in range(8):
        turns = pace.turns_steady
        phases.append((asyncio.run(pace.next()), turns))
    assert phases == [("as fast as it goes", False)] * 4 + [("at 20 orders/s", True)] + [("at 20 orders/s", False)] * 3
