"""An hour without a worker: what was answered in time stands, and what was not has its deadline at once."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.messages import AuthorisePayment, ReceiveStock
from schemas.topics import PAYMENTS_COMMANDS, SAGAS_EVENTS
from streams.replay.folding import replay

LATE = Path(__file__).with_name("late_worker.py")


@pytest.mark.slow
def test_a_worker_that_was_down_for_an_hour_catches_up_with_answers_before_it_fires_deadlines(
    log: Any, services: Any, until: Callable[..., Any], start_worker: Any
) -> None:
    unique = uuid.uuid4().hex[:8]
    sku, answered, silent = (f"{name}-{unique}" for name in ("sku", "answered", "silent"))
    log.command(ReceiveStock(10), sku)
    log.flush()
    services.silent.update({answered, silent})
    worker = start_worker().wait_alone()
    for order_id in (answered, silent):
        services.place(order_id, [(sku, 2)])
    services.log.flush()

    def asked() -> dict[str, Any]:
        found = (message for _, message in log.read(PAYMENTS_COMMANDS) if isinstance(message.body, AuthorisePayment))
        return {message.envelope.subject: message for message in found if unique in message.envelope.subject}

    until(lambda: len(asked()) == 2, "both payments are asked for")
    worker.kill()
    services.silent.remove(answered)
    services.act(asked()[answered])
    services.log.flush()
    start_worker(script=LATE).wait_alone()

    expected = {answered: "CONFIRMED", silent: "REJECTED"}
    until(lambda: {id_: services.status[id_][0] for id_ in expected} == expected, "both orders end")

    def sagas() -> dict[str, tuple[str | None, str | None]]:
        found = replay(pair for pair in log.read(SAGAS_EVENTS) if unique in pair[1].envelope.subject).sagas
        return {order_id: (saga.outcome, saga.reason) for order_id, saga in found.items()}

    # What undoes the silent one's payment is asked for until it is answered.
    until(lambda: sagas() == {answered: ("CONFIRMED", None), silent: (None, "TIMED_OUT")}, "one saga ends")
