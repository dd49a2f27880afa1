"""A kill -9 and a stall at every step of a wallet's payment: confirmed and debited once, and every penny explained."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import wallet_pivot
from running_system import wait_for
from two_phase_pair import AT_ONCE, until_stopped
from two_phase_steps import COMMIT_STEPS, COMMITTED, Matrix, cases
from wallet_shop import Shop

from producers.store.connections import Pool
from schemas.envelope import Message
from tally.local.databases import ServiceDatabase

Spawn = Callable[[Message, str, int], "subprocess.Popen[str]"]

PIVOT_STEPS = ("taken", "debited", "recorded")
# One that the wallet refuses has locked the wallet's row, so both databases vote.
REFUSED_STEPS = (*PIVOT_STEPS, "before vote", "before decision", "after decision", "after commit orders")
SAMPLE = frozenset({"debited", "after commit orders"})
CREDIT, TOTAL = 1000, 400


@pytest.fixture
def shop(orders_pool: Pool, payments_pool: Pool) -> Shop:
    return Shop(orders_pool, payments_pool)


@pytest.fixture
def spawn(orders_database: ServiceDatabase, payments_database: ServiceDatabase) -> Iterator[Spawn]:
    """A pivot as a process that sends itself a signal at a step of one confirmation."""
    processes: list[subprocess.Popen[str]] = []

    def start(command: Message, step: str, number: int) -> subprocess.Popen[str]:
        task = {"orders_url": orders_database.service_url, "payments_url": payments_database.service_url}
        task |= {"id": command.envelope.id, "step": step, "signal": int(number)}
        script = str(Path(wallet_pivot.__file__))
        processes.append(
            subprocess.Popen([sys.executable, script, json.dumps(task)], stdout=subprocess.PIPE, text=True)
        )
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("step", cases(PIVOT_STEPS + COMMIT_STEPS, SAMPLE))
def test_a_pivot_killed_at_any_step_pays_once_or_leaves_it_to_the_next(
    shop: Shop, spawn: Spawn, matrix: Matrix, step: str
) -> None:
    shop.credit("c1", CREDIT)
    order_id, command = shop.confirm("c1", TOTAL)
    assert spawn(command, step, signal.SIGKILL).wait(60) == -signal.SIGKILL
    settle(shop)
    assert is_paid(shop, order_id) is (step in COMMITTED)
    matrix.note(step, "pivot killed", "paid" if is_paid(shop, order_id) else "not yet")
    is_left_to_the_next(shop, order_id, command)


@pytest.mark.parametrize("step", cases(PIVOT_STEPS + COMMIT_STEPS, SAMPLE))
def test_a_pivot_that_stalls_while_recovery_and_a_second_one_act_pays_once(
    shop: Shop, spawn: Spawn, matrix: Matrix, step: str
) -> None:
    shop.credit("c1", CREDIT)
    order_id, command = shop.confirm("c1", TOTAL)
    process = spawn(command, step, signal.SIGSTOP)
    until_stopped(process)
    settle(shop)
    shop.pivot.run_open()
    os.kill(process.pid, signal.SIGCONT)
    process.communicate(timeout=60)
    settle(shop)
    matrix.note(step, "pivot stalled", "paid" if is_paid(shop, order_id) else "not yet")
    is_left_to_the_next(shop, order_id, command)


@pytest.mark.parametrize("step", cases(REFUSED_STEPS, frozenset()))
def test_a_pivot_killed_while_the_wallet_refuses_takes_nothing(
    shop: Shop, spawn: Spawn, matrix: Matrix, step: str
) -> None:
    shop.credit("c1", TOTAL - 1)
    order_id, command = shop.confirm("c1", TOTAL)
    assert spawn(command, step, signal.SIGKILL).wait(60) == -signal.SIGKILL
    settle(shop)
    by_the_next(shop, command)
    matrix.note(step, "pivot killed, refused", shop.types(order_id)[-1])
    assert shop.types(order_id) == ["ORDER_CREATED", "ORDER_REJECTED"]
    assert (shop.answer(command).outcome, shop.balance("c1")) == ("REFUSED", TOTAL - 1)
    assert shop.unexplained_minor() == 0


def settle(shop: Shop) -> None:
    shop.recovery(AT_ONCE).run_pass()
    assert shop.decisions.open() == []
    assert shop.decisions.damaged() == []
    assert [each for there in shop.participants.values() for each in there.prepared()] == []
    assert shop.unexplained_minor() == 0


def is_paid(shop: Shop, order_id: str) -> bool:
    """Whether the order is confirmed; both parts tell the same."""
    confirmed = shop.types(order_id)[-1] == "ORDER_CONFIRMED"
    assert (shop.balance("c1") == CREDIT - TOTAL) is confirmed
    return confirmed


def is_left_to_the_next(shop: Shop, order_id: str, command: Message) -> None:
    """Whatever the dead one did, the next pivot has the order paid once, and answered."""
    by_the_next(shop, command)
    assert is_paid(shop, order_id)
    assert shop.types(order_id) == ["ORDER_CREATED", "ORDER_CONFIRMED"]
    assert shop.payment_types("wallets", "c1") == ["WALLET_CREDITED", "WALLET_DEBITED"]
    assert shop.answer(command).outcome == "DONE"
    assert shop.unexplained_minor() == 0


def by_the_next(shop: Shop, command: Message) -> None:
    # What a dead one had in hand is free once its server has seen the connection end.
    wait_for(lambda: shop.pivot.run_open() > 0 or shop.answer(command) is not None, 30, "the next pivot to end it")
