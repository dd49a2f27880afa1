"""The sandbox as a real process: its references, its keys, and a kill."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from producers.payments.attempts import AttemptRunner
from producers.payments.provider import HttpProvider, ProviderUnanswered
from producers.store.connections import Pool
from schemas.messages import CapturePayment, VoidPayment


@pytest.fixture
def provider(sandbox: Any) -> Iterator[HttpProvider]:
    client = HttpProvider(sandbox.url)
    yield client
    client.close()


def status(provider: HttpProvider, key: str, reference: str = "tok_ok") -> str:
    return provider.authorise(key, 1530, "GBP", reference).status


def test_ok_and_decline_answer_at_once_and_the_same_again(provider: HttpProvider) -> None:
    assert [status(provider, "a"), status(provider, "a")] == ["AUTHORISED"] * 2
    assert [status(provider, "b", "tok_decline"), status(provider, "b", "tok_decline")] == ["DECLINED"] * 2
    assert status(provider, "c", "tok_nobody_knows") == "DECLINED"


def test_the_same_key_with_other_content_is_refused(provider: HttpProvider, eventually: Callable[..., None]) -> None:
    short = HttpProvider(str(provider._client.base_url), authorise_within_s=0.2)
    with pytest.raises(ProviderUnanswered):
        status(short, "a", "tok_timeout")
    short.close()
    eventually(lambda: provider.status("a").status == "PENDING", "it is in the book")
    with pytest.raises(ProviderUnanswered, match="422"):
        provider.authorise("a", 1, "GBP", "tok_timeout")


def test_slow_answers_after_about_two_seconds(provider: HttpProvider) -> None:
    began = time.monotonic()
    with ThreadPoolExecutor(1) as other:
        slow = other.submit(status, provider, "a", "tok_slow")
        assert status(provider, "b") == "AUTHORISED", "others do not wait for it"
        assert not slow.done()
        assert slow.result(10) == "AUTHORISED"
    assert time.monotonic() - began > 1.8


def test_timeout_never_answers_and_its_status_stays_pending(
    provider: HttpProvider, eventually: Callable[..., None]
) -> None:
    short = HttpProvider(str(provider._client.base_url), authorise_within_s=0.3)
    with pytest.raises(ProviderUnanswered, match="ReadTimeout"):
        status(short, "a", "tok_timeout")
    short.close()
    eventually(lambda: provider.status("a").status == "PENDING", "it is in the book")
    assert provider.void("a").status == "VOIDED"


def test_flaky_fails_twice_and_then_works(provider: HttpProvider) -> None:
    for _ in range(2):
        with pytest.raises(ProviderUnanswered, match="503"):
            status(provider, "a", "tok_flaky")
    assert status(provider, "a", "tok_flaky") == "AUTHORISED"


def test_money_moves_only_from_where_it_is(provider: HttpProvider) -> None:
    status(provider, "a")
    assert provider.refund("a").status == "AUTHORISED"
    assert [provider.capture("a").status, provider.capture("a").status] == ["CAPTURED"] * 2
    assert provider.void("a").status == "CAPTURED"
    assert [provider.refund("a").status, provider.refund("a").status] == ["REFUNDED"] * 2
    assert provider.status("nobody").status == "UNKNOWN"
    assert provider.capture("nobody").status == "UNKNOWN"


def test_parts_of_captured_money_go_back_once_a_number_and_never_more_than_was_paid(provider: HttpProvider) -> None:
    assert provider.refund_part("a", 4, 500).status == "UNKNOWN"
    status(provider, "a")
    assert provider.refund_part("a", 4, 500).status == "AUTHORISED"
    provider.capture("a")
    assert [provider.refund_part("a", 4, 500).status for _ in range(2)] == ["PART_REFUNDED"] * 2
    assert provider.refund_part("a", 4, 501).status == "CAPTURED"
    assert provider.refund_part("a", 5, 1031).status == "CAPTURED"
    assert provider.refund_part("a", 5, 1030).status == "PART_REFUNDED"
    assert provider.refund_part("a", 6, 1).status == "REFUNDED"
    assert provider.status("a").status == "REFUNDED"


def test_a_void_of_an_unknown_key_fences_it(provider: HttpProvider) -> None:
    assert provider.void("a").status == "VOIDED"
    assert status(provider, "a") == "VOIDED"


def test_a_kill_forgets_nothing(sandbox: Any, provider: HttpProvider) -> None:
    status(provider, "a")
    provider.capture("a")
    status(provider, "b", "tok_decline")
    with pytest.raises(ProviderUnanswered):
        status(provider, "c", "tok_flaky")
    before = sandbox.statuses()
    sandbox.kill()
    with pytest.raises(ProviderUnanswered):
        provider.status("a")
    sandbox.start()
    assert sandbox.statuses() == before == {"a": "CAPTURED", "b": "DECLINED", "c": "PENDING"}
    with pytest.raises(ProviderUnanswered):
        status(provider, "c", "tok_flaky")
    assert status(provider, "c", "tok_flaky") == "AUTHORISED"


def test_the_listing_and_the_probes_answer(sandbox: Any, provider: HttpProvider) -> None:
    status(provider, "a")
    [item] = httpx.get(f"{sandbox.url}/payments", trust_env=False).json()["items"]
    assert item == {
        "key": "a",
        "amount_minor": 1530,
        "currency": "GBP",
        "reference": "tok_ok",
        "status": "AUTHORISED",
        "reason": None,
    }
    for probe in ("livez", "readyz", "startupz", "metrics"):
        assert httpx.get(f"{sandbox.url}/{probe}", trust_env=False).status_code == 200


def test_every_reference_ends_as_it_should(
    payments: Any, payments_pool: Pool, sandbox: Any, provider: HttpProvider, eventually: Callable[..., None]
) -> None:
    """All at once through the runner, with the provider killed in between."""
    running = AttemptRunner(payments_pool, provider)
    running.start()
    try:
        made = {name: payments.authorise(name) for name in ("tok_ok", "tok_decline", "tok_slow", "tok_flaky")}
        never_id, never = payments.authorise("tok_timeout")
        assert payments.answered(made["tok_ok"][1]).outcome == "DONE"
        sandbox.kill()
        capture = payments.do(CapturePayment(), made["tok_ok"][0])
        eventually(lambda: any(payments.column("last_error")), "a call that failed")
        sandbox.start()
        outcomes = {name: payments.answered(command).outcome for name, (_, command) in made.items()}
        assert outcomes == {"tok_ok": "DONE", "tok_decline": "REFUSED", "tok_slow": "DONE", "tok_flaky": "DONE"}
        assert payments.answered(capture).outcome == "DONE"
        assert payments.answers(never) == []
        assert payments.answered(payments.do(VoidPayment("TIMED_OUT"), never_id)).outcome == "DONE"
    finally:
        running.stop()
    ours = {order_id: payments.state(order_id).status for order_id, _ in [*made.values(), (never_id, never)]}
    assert sandbox.statuses() == ours
    assert sorted(ours.values()) == ["AUTHORISED", "AUTHORISED", "CAPTURED", "DECLINED", "VOIDED"]
