"""Two transactions around the provider's call, and what a crash between them leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from producers.errors import CommandIdReused
from producers.payments import lease
from producers.payments.attempts import AttemptRunner, RunnerSettings
from producers.payments.fake import FakeProvider
from producers.payments.provider import HttpProvider, ProviderFailed, ProviderUnanswered
from producers.store.connections import Pool
from schemas.envelope import Message
from schemas.messages import AuthorisePayment, CapturePayment, RefundPayment, VoidPayment
from tally.local.databases import ServiceDatabase

VOID = VoidPayment("TIMED_OUT")


@contextmanager
def runner(pool: Pool, provider: Any, lease_s: float = 5.0) -> Iterator[AttemptRunner]:
    running = AttemptRunner(pool, provider, settings=RunnerSettings(lease_s=lease_s))
    running.start()
    try:
        yield running
    finally:
        running.stop()


def test_the_reply_comes_with_the_result_and_not_with_the_request(payments: Any, payments_pool: Pool) -> None:
    order_id, command = payments.authorise()
    assert payments.types(order_id) == ["PAYMENT_REQUESTED"]
    assert payments.answers(command) == []
    with runner(payments_pool, FakeProvider()):
        answer = payments.answered(command)
    assert (answer.outcome, answer.reason, answer.version) == ("DONE", None, 2)
    assert payments.types(order_id) == ["PAYMENT_REQUESTED", "PAYMENT_AUTHORISED"]
    assert payments.column("state") == ["DONE"]


def test_a_payment_goes_its_whole_way(payments: Any, payments_pool: Pool) -> None:
    provider = FakeProvider()
    with runner(payments_pool, provider):
        order_id, command = payments.authorise()
        payments.answered(command)
        assert payments.answered(payments.do(CapturePayment(), order_id)).outcome == "DONE"
        assert payments.answered(payments.do(VOID, order_id)).outcome == "DONE"
    assert payments.types(order_id)[1:] == ["PAYMENT_AUTHORISED", "PAYMENT_CAPTURED", "PAYMENT_REFUNDED"]
    assert provider.calls == [("authorise", order_id), ("capture", order_id), ("refund", order_id)]


def test_parts_are_refunded_once_each_even_when_the_answer_is_lost(payments: Any, payments_pool: Pool) -> None:
    provider = FakeProvider()
    with runner(payments_pool, provider):
        order_id, command = payments.authorise()
        payments.answered(command)
        payments.answered(payments.do(CapturePayment(), order_id))

        def loses_the_first(call: str) -> None:
            if call == "refund_part" and provider.calls.count((call, order_id)) == 1:
                provider.parts[order_id, 4] = 500
                raise ProviderUnanswered("the answer is lost")

        provider.before = loses_the_first
        answer = payments.answered(payments.do(RefundPayment(500, "RETURNED", 4), order_id))
        assert (answer.outcome, answer.line) == ("DONE", 4)
        assert payments.answered(payments.do(RefundPayment(500, "RETURNED", 4), order_id)).outcome == "DONE"
        assert payments.answered(payments.do(RefundPayment(1030, "RETURNED", 5), order_id)).outcome == "DONE"
    assert payments.types(order_id)[3:] == ["PAYMENT_REFUNDED"] * 2
    assert provider.parts == {(order_id, 4): 500, (order_id, 5): 1030}
    assert payments.state(order_id).status == "REFUNDED"


def test_a_refund_that_the_provider_does_not_allow_is_refused_with_its_word(payments: Any, payments_pool: Pool) -> None:
    provider = FakeProvider()
    with runner(payments_pool, provider):
        order_id, command = payments.authorise()
        payments.answered(command)
        payments.answered(payments.do(CapturePayment(), order_id))
        provider.status_by_key[order_id] = "REFUNDED"
        answer = payments.answered(payments.do(RefundPayment(500, "RETURNED", 4), order_id))
    assert (answer.outcome, answer.reason) == ("REFUSED", "PROVIDER_SAYS_REFUNDED")


def test_a_declined_card_is_refused_with_the_reason(payments: Any, payments_pool: Pool) -> None:
    with runner(payments_pool, FakeProvider()):
        order_id, command = payments.authorise("tok_decline")
        answer = payments.answered(command)
    assert (answer.outcome, answer.reason) == ("REFUSED", "PAYMENT_DECLINED")
    assert payments.types(order_id) == ["PAYMENT_REQUESTED", "PAYMENT_DECLINED"]


def test_a_wallet_is_answered_without_any_attempt(payments: Any) -> None:
    order_id, command = payments.authorise(method="wallet")
    assert payments.answered(command).outcome == "DONE"
    assert payments.types(order_id) == []
    assert payments.column("state") == []


def test_a_repeat_makes_no_second_attempt_and_no_second_reply(payments: Any, payments_pool: Pool) -> None:
    _, command = payments.authorise()
    payments.sink(command, command)
    assert len(payments.column("id")) == 1
    with runner(payments_pool, FakeProvider()):
        payments.answered(command)
        payments.sink(command)
    assert len(payments.answers(command)) == 1


def test_the_same_id_with_another_body_is_refused_while_the_first_still_runs(payments: Any) -> None:
    order_id, command = payments.authorise()
    other = payments.command(AuthorisePayment(1, "GBP", "card", "tok_ok"), order_id)
    with pytest.raises(CommandIdReused):
        payments.sink(Message(command.envelope, other.body))


def test_who_is_no_saga_gets_no_reply(payments: Any, payments_pool: Pool, eventually: Callable[..., None]) -> None:
    order_id, command = payments.authorise()
    capture = payments.command(CapturePayment(), order_id, source="/tally/cli")
    with runner(payments_pool, FakeProvider()):
        payments.answered(command)
        payments.sink(capture)
        eventually(lambda: payments.state(order_id).status == "CAPTURED", "the capture")
    assert payments.answers(capture) == []


def test_an_answer_that_got_lost_is_found_by_asking_for_the_status(payments: Any, payments_pool: Pool) -> None:
    provider = FakeProvider(silent={"authorise"})
    with runner(payments_pool, provider):
        order_id, command = payments.authorise()
        assert payments.answered(command).outcome == "DONE"
    assert provider.calls == [("authorise", order_id), ("status", order_id)]


def test_a_failing_provider_is_asked_again_with_the_same_key(payments: Any, payments_pool: Pool) -> None:
    failures = [0]

    def fails_twice(call: str) -> None:
        if call == "authorise" and failures[0] < 2:
            failures[0] += 1
            raise ProviderUnanswered("503")

    with runner(payments_pool, FakeProvider(before=fails_twice)):
        order_id, command = payments.authorise()
        assert payments.answered(command).outcome == "DONE"
    assert failures == [2]
    assert payments.types(order_id) == ["PAYMENT_REQUESTED", "PAYMENT_AUTHORISED"]


def test_a_call_answered_with_an_error_is_made_again_without_asking_for_the_status(
    payments: Any, payments_pool: Pool
) -> None:
    """The provider leaves the payment pending after each error, as the sandbox does: no status tells more."""

    def fails_twice(call: str) -> None:
        if call == "authorise" and len(provider.calls) <= 2:
            provider.status_by_key[provider.calls[-1][1]] = "PENDING"
            raise ProviderFailed("503")

    provider = FakeProvider(before=fails_twice)
    with runner(payments_pool, provider):
        order_id, command = payments.authorise("tok_flaky")
        assert payments.answered(command).outcome == "DONE"
    assert provider.calls == [("authorise", order_id)] * 3


def test_a_lease_that_ended_after_an_answered_error_asks_for_the_status(payments: Any, payments_pool: Pool) -> None:
    order_id, command = payments.authorise()
    with payments_pool.connection() as connection:
        [attempt] = lease.claim(connection, "first", 1)
        lease.put_back(connection, attempt, "first", f"{lease.ANSWERED}503", 0.0)
        [attempt] = lease.claim(connection, "killed", 1, lease_s=0.0)
        assert attempt.answered
    provider = FakeProvider(status_by_key={order_id: "AUTHORISED"})
    with runner(payments_pool, provider):
        assert payments.answered(command).outcome == "DONE"
    assert provider.calls == [("status", order_id)]


def test_a_void_while_requested_ends_what_the_provider_never_answers(
    payments: Any, payments_pool: Pool, eventually: Callable[..., None]
) -> None:
    provider = FakeProvider()
    with runner(payments_pool, provider):
        order_id, command = payments.authorise("tok_timeout")
        eventually(lambda: ("status", order_id) in provider.calls, "a second try")
        void = payments.do(VOID, order_id)
        assert payments.answered(void).outcome == "DONE"
        assert payments.answered(command).reason == "PAYMENT_IS_VOIDED"
    assert payments.types(order_id) == ["PAYMENT_REQUESTED", "PAYMENT_VOIDED"]
    assert payments.state(order_id).reason == "TIMED_OUT"
    assert provider.status_by_key == {order_id: "VOIDED"}


def test_a_void_during_the_call_is_applied_to_its_result(payments: Any, payments_pool: Pool) -> None:
    calling, voided = threading.Event(), threading.Event()

    def waits(call: str) -> None:
        if call == "authorise":
            calling.set()
            assert voided.wait(60)

    provider = FakeProvider(before=waits)
    with runner(payments_pool, provider):
        order_id, command = payments.authorise()
        assert calling.wait(60)
        void = payments.do(VOID, order_id)
        voided.set()
        assert payments.answered(command).outcome == "DONE"
        assert payments.answered(void).outcome == "DONE"
    assert payments.types(order_id) == ["PAYMENT_REQUESTED", "PAYMENT_AUTHORISED", "PAYMENT_VOIDED"]
    assert provider.status_by_key == {order_id: "VOIDED"}


def test_a_void_before_the_authorisation_is_handled_lets_nothing_be_authorised(
    payments: Any, payments_pool: Pool
) -> None:
    order_id, command = payments.authorise()
    void = payments.do(VOID, order_id)
    provider = FakeProvider()
    with runner(payments_pool, provider):
        assert payments.answered(void).outcome == "DONE"
        assert payments.answered(command).outcome == "REFUSED"
    assert provider.calls == [("void", order_id)]


def test_a_void_that_finds_the_money_captured_refunds_it(payments: Any, payments_pool: Pool) -> None:
    provider = FakeProvider(silent={"capture"})
    with runner(payments_pool, provider):
        order_id, command = payments.authorise()
        payments.answered(command)
    provider.status_by_key[order_id] = "CAPTURED"  # and nobody has heard of it
    with runner(payments_pool, provider):
        assert payments.answered(payments.do(VOID, order_id)).outcome == "DONE"
    assert payments.types(order_id)[2:] == ["PAYMENT_CAPTURED", "PAYMENT_REFUNDED"]


def test_two_runners_never_do_one_attempt_both(payments: Any, payments_pool: Pool) -> None:
    provider = FakeProvider()
    with runner(payments_pool, provider), runner(payments_pool, provider):
        commands = [payments.authorise()[1] for _ in range(20)]
        assert {payments.answered(command).outcome for command in commands} == {"DONE"}
    assert len(provider.calls) == len(set(provider.calls)) == 20


def test_a_runner_dropped_after_the_call_leaves_its_result_to_the_next(payments: Any, payments_pool: Pool) -> None:
    """The dropped one keeps its lease and would still write: it finds that the attempt is no longer its own."""
    called, go_on = threading.Event(), threading.Event()

    def stalls(point: str) -> None:
        if point == "called":
            called.set()
            go_on.wait(60)

    provider = FakeProvider()
    stalled = AttemptRunner(payments_pool, provider, settings=RunnerSettings(calls_max=1, lease_s=0.3, reached=stalls))
    stalled.start()
    order_id, command = payments.authorise()
    assert called.wait(60)
    with runner(payments_pool, provider):
        assert payments.answered(command).outcome == "DONE"
    go_on.set()
    stalled.stop()
    assert payments.types(order_id) == ["PAYMENT_REQUESTED", "PAYMENT_AUTHORISED"]
    assert len(payments.answers(command)) == 1
    assert provider.calls == [("authorise", order_id), ("status", order_id)]


KILLED = """
import os, signal, sys, time
from producers.payments.attempts import AttemptRunner, RunnerSettings
from producers.payments.provider import HttpProvider
from producers.store.connections import open_pool

def reached(point):
    if point == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)

AttemptRunner(
    open_pool(sys.argv[1], "killed"), HttpProvider(sys.argv[2]), settings=RunnerSettings(lease_s=1.0, reached=reached)
).start()
time.sleep(60)
"""


@pytest.mark.parametrize("point", ["claimed", "called", "kept"])
def test_a_runner_killed_at_any_point_is_taken_over(
    payments: Any, payments_pool: Pool, payments_database: ServiceDatabase, sandbox: Any, point: str, tmp_path: Path
) -> None:
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    order_id, command = payments.authorise()
    arguments = [sys.executable, str(script), payments_database.service_url, sandbox.url, point]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run(arguments, timeout=120, check=False, env=environment).returncode == -signal.SIGKILL
    assert len(payments.answers(command)) == (point == "kept")
    provider = HttpProvider(sandbox.url)
    with runner(payments_pool, provider):
        assert payments.answered(command).outcome == "DONE"
    provider.close()
    assert payments.types(order_id) == ["PAYMENT_REQUESTED", "PAYMENT_AUTHORISED"]
    assert sandbox.statuses() == {order_id: "AUTHORISED"}
