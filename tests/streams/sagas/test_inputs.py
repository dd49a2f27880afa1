"""Handling of a saga's inputs: what an operator's act leaves behind."""

from __future__ import annotations

from schemas.messages import ActOnSaga, OrderCreated, OrderLine, SagaActed
from schemas.topics import AUDIT_TRAIL, SAGAS_EVENTS
from streams.sagas.inputs import SagaInputs
from streams.sagas.state import Row
from streams.scenario import MOMENT, message


def test_an_act_is_an_event_of_the_saga_and_a_record_of_the_audit_trail_once() -> None:
    rows: dict[str, Row] = {}
    inputs = SagaInputs(rows, MOMENT)
    inputs.handle(message(OrderCreated("c", "GBP", (OrderLine(1, "A", 1, 1),), 1, "card", "tok_ok"), "o1"))
    out = inputs.handle(message(ActOnSaga("ANNOTATE", "ann", "called the customer"), "o1"))
    assert [(sent.topic, sent.message.body) for sent in out] == [
        (topic, SagaActed("ANNOTATE", "ann", "called the customer")) for topic in (SAGAS_EVENTS, AUDIT_TRAIL)
    ]
    event, record = (sent.message.envelope for sent in out)
    assert (record.subject, record.causation_id) == ("o1", event.id)
    assert record.id != event.id


def test_an_act_on_an_order_without_a_saga_leaves_nothing() -> None:
    assert SagaInputs({}, MOMENT).handle(message(ActOnSaga("ANNOTATE", "ann", "who?"), "o1")) == []
