"""The contract of every event store: one file, each implementation."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast

import psycopg
import pytest

from producers.errors import Busy, CommandIdReused, StillRunning
from producers.orders.aggregate import ORDERS, Order
from producers.store.appending import EVENTS_MAX
from producers.store.connections import Pool
from producers.store.deciding import EXPIRED, HORIZON, Loaded, append_of, handle, handle_with_retries, load, record
from producers.store.memory import MemoryEventStore
from producers.store.port import Answer, Append, CommandId, EventStore, Head, UnitOfWork
from producers.store.postgres import PostgresEventStore
from schemas.codec import AvroCodec
from schemas.envelope import Envelope, Message, derive_id, new_id
from schemas.errors import Conflict
from schemas.messages import (
    AskStatus,
    CancelOrder,
    ConfirmOrder,
    CreateOrder,
    OrderCancelled,
    OrderConfirmed,
    OrderCreated,
    OrderLine,
    ShipOrder,
    wire_type,
)
from tally.local.databases import PostgresHost, ServiceDatabase

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
CREATE = CreateOrder("guest", "GBP", (OrderLine(1, "85123A", 6, 255),), "card", "tok_ok")


def command(body: object, order_id: str, id_: str | None = None, at: datetime = NOON, source: str = "/t") -> Message:
    id_ = id_ or new_id()
    return Message(Envelope(id_, wire_type(type(body)), source, "orders", order_id, None, at, id_, id_), body)


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> EventStore:
    if request.param == "memory":
        return MemoryEventStore()
    pool: Pool = request.getfixturevalue("orders_pool")
    return PostgresEventStore(pool, AvroCodec())


@pytest.fixture
def order_id() -> str:
    return new_id()


def do(store: EventStore, message: Message, clock: datetime = NOON) -> Answer:
    answer = handle_with_retries(store, ORDERS, message, clock)
    assert answer is not None
    return answer


def test_an_unknown_aggregate_has_no_history_and_version_0(store: EventStore) -> None:
    assert store.find_head("orders", "nobody").version == 0
    assert store.read("orders", "nobody") == []


def test_what_was_decided_is_read_back_in_order(store: EventStore, order_id: str) -> None:
    do(store, command(CREATE, order_id))
    do(store, command(ConfirmOrder(), order_id))
    history = store.read("orders", order_id)
    assert [type(event.body) for event in history] == [OrderCreated, OrderConfirmed]
    assert [event.envelope.version for event in history] == [1, 2]
    assert store.read("orders", order_id, from_version=2) == history[1:]
    assert store.find_head("orders", order_id).version == 2


def test_an_event_names_its_cause_and_its_affair(store: EventStore, order_id: str) -> None:
    create = command(CREATE, order_id)
    do(store, create)
    envelope = store.read("orders", order_id)[0].envelope
    assert envelope.causation_id == create.envelope.id
    assert envelope.correlation_id == create.envelope.correlation_id
    assert envelope.id == derive_id(create.envelope.id, 1)


def test_a_repeat_gets_the_stored_answer_and_changes_nothing(store: EventStore, order_id: str) -> None:
    create = command(CREATE, order_id)
    first = do(store, create)
    assert do(store, create, NOON + timedelta(days=1)) == first
    assert store.find_head("orders", order_id).version == 1
    known = store.find_command(create.envelope.id)
    assert known is not None
    assert known.answer == first


def test_a_refusal_is_remembered_too(store: EventStore, order_id: str) -> None:
    do(store, command(CREATE, order_id))
    ship = command(ShipOrder(), order_id)
    assert do(store, ship).reason == "ORDER_IS_CREATED"
    do(store, command(ConfirmOrder(), order_id))
    assert do(store, ship).reason == "ORDER_IS_CREATED"


def test_the_same_id_with_another_body_is_refused(store: EventStore, order_id: str) -> None:
    cancel = command(CancelOrder("CUSTOMER"), order_id)
    do(store, command(CREATE, order_id))
    do(store, cancel)
    with pytest.raises(CommandIdReused):
        do(store, command(CancelOrder("OTHER"), order_id, cancel.envelope.id))
    with pytest.raises(CommandIdReused):
        do(store, command(CancelOrder("CUSTOMER"), new_id(), cancel.envelope.id))


def test_a_question_for_a_command_is_answered_from_what_is_stored_and_stores_nothing(
    store: EventStore, order_id: str
) -> None:
    create = command(CREATE, order_id)
    question = command(AskStatus(order_id, create.envelope.id, "CREATE_ORDER"), order_id)
    assert do(store, question).outcome == "UNDECIDED"
    first = do(store, create)
    assert do(store, question) == first
    assert store.find_command(question.envelope.id) is None


def test_a_command_beyond_the_horizon_is_refused_as_expired(store: EventStore, order_id: str) -> None:
    late = do(store, command(CREATE, order_id), NOON + HORIZON + timedelta(milliseconds=1))
    assert (late.outcome, late.reason) == ("REFUSED", EXPIRED)
    assert store.find_head("orders", order_id).version == 0
    assert do(store, command(CREATE, order_id), NOON + HORIZON).outcome == "DONE"


def test_the_same_id_still_running_is_told_at_once(store: EventStore, order_id: str) -> None:
    create = command(CREATE, order_id)
    with store.transaction() as unit:
        handle(unit, ORDERS, create, NOON)
        with pytest.raises(StillRunning):
            do(store, create)
    assert do(store, create).version == 1


def test_a_moved_head_is_a_conflict_and_nothing_of_the_loser_stays(store: EventStore, order_id: str) -> None:
    do(store, command(CREATE, order_id))
    loser = command(CancelOrder("LATE"), order_id)
    with pytest.raises(Conflict), store.transaction() as unit:
        loaded = load(unit, ORDERS, order_id)
        do(store, command(ConfirmOrder(), order_id))
        record(unit, ORDERS, loaded, (OrderCancelled("LATE"),), loser)
    assert [type(event.body) for event in store.read("orders", order_id)] == [OrderCreated, OrderConfirmed]
    assert store.find_command(loser.envelope.id) is None


def test_two_first_events_of_one_aggregate_conflict(store: EventStore, order_id: str) -> None:
    with pytest.raises(Conflict), store.transaction() as unit:
        loaded = load(unit, ORDERS, order_id)
        do(store, command(CREATE, order_id))
        record(unit, ORDERS, loaded, ORDERS.decide(loaded.state, CREATE).events, command(CREATE, order_id))
    assert store.find_head("orders", order_id).version == 1


def later(store: EventStore, order_id: str, *bodies: object) -> Append:
    """Event bodies behind the head as it is now."""
    head = store.find_head("orders", order_id)
    return append_of(ORDERS, Loaded(head, ORDERS.state_of(head)), bodies, command(CREATE, order_id))


CREATED = OrderCreated("guest", "GBP", CREATE.lines, 1530, "card", "tok_ok")


@pytest.mark.parametrize("more", [0, 1, EVENTS_MAX - 1, EVENTS_MAX])
def test_an_append_needs_no_unit_of_work(store: EventStore, order_id: str, more: int) -> None:
    store.append(later(store, order_id, CREATED, *[OrderConfirmed()] * more))
    store.append(later(store, order_id, *[OrderConfirmed()] * (more + 1)))
    head, history = store.find_head("orders", order_id), store.read("orders", order_id)
    assert [event.envelope.version for event in history] == list(range(1, 2 * more + 3))
    assert [type(event.body) for event in history] == [OrderCreated, *[OrderConfirmed] * (2 * more + 1)]
    assert (head.version, head.recorded_at) == (2 * more + 2, history[-1].envelope.recorded_at)
    assert ORDERS.state_of(head).status == "CONFIRMED"


def test_an_append_is_made_of_the_head_that_it_expects(store: EventStore, order_id: str) -> None:
    def make(*bodies: object) -> Callable[[Head], Append]:
        cause = command(CREATE, order_id)
        return lambda head: append_of(ORDERS, Loaded(head, ORDERS.state_of(head)), bodies, cause)

    store.append_behind(Head("orders", order_id), make(CREATED))
    many = store.append_behind(Head("orders", order_id, 1), make(*[OrderConfirmed()] * (EVENTS_MAX + 1)))
    assert store.read("orders", order_id)[1:] == list(many.events)
    assert ORDERS.state_of(store.find_head("orders", order_id)).customer_id == "guest"
    for expected in (0, 1, EVENTS_MAX + 3):
        with pytest.raises(Conflict):
            store.append_behind(Head("orders", order_id, expected), make(OrderConfirmed()))
    assert store.find_head("orders", order_id).version == EVENTS_MAX + 2


@pytest.mark.parametrize("ahead", [0, 1])
@pytest.mark.parametrize("events", [1, EVENTS_MAX + 1])
def test_an_append_behind_a_head_that_moved_is_a_conflict_and_keeps_nothing(
    store: EventStore, order_id: str, ahead: int, events: int
) -> None:
    if ahead:
        store.append(later(store, order_id, CREATED))
    late = later(store, order_id, *[OrderConfirmed()] * events)
    store.append(later(store, order_id, OrderConfirmed() if ahead else CREATED))
    with pytest.raises(Conflict):
        store.append(late)
    assert len(store.read("orders", order_id)) == store.find_head("orders", order_id).version == ahead + 1


class Disturbed:
    """A store where another writer moves the head after each of the first `times` loads."""

    def __init__(self, store: EventStore, disturb: Callable[[], None], times: int) -> None:
        self.store, self.disturb, self.left, self.tries = store, disturb, times, 0

    @contextmanager
    def transaction(self) -> Iterator[UnitOfWork]:
        self.tries += 1
        with self.store.transaction() as unit:
            yield cast(UnitOfWork, DisturbedUnit(unit, self))

    def __getattr__(self, name: str) -> object:
        return getattr(self.store, name)


class DisturbedUnit:
    def __init__(self, unit: UnitOfWork, outer: Disturbed) -> None:
        self.unit, self.outer = unit, outer

    def begin_command(self, command: CommandId, aggregatetype: str, aggregate_id: str) -> object:
        head = self.unit.begin_command(command, aggregatetype, aggregate_id)
        if self.outer.left:
            self.outer.left -= 1
            self.outer.disturb()
        return head

    def __getattr__(self, name: str) -> object:
        return getattr(self.unit, name)


def move(store: EventStore, order_id: str) -> None:
    """Another writer's event; OrderConfirmed again and again is no business, but moves the head."""
    with store.transaction() as unit:
        record(unit, ORDERS, load(unit, ORDERS, order_id), (OrderConfirmed(),), command(ConfirmOrder(), order_id))


@pytest.mark.parametrize(("times", "succeeds"), [(1, True), (4, True), (5, False)])
def test_a_conflict_is_tried_again_at_most_five_times(
    store: EventStore, order_id: str, times: int, succeeds: bool
) -> None:
    do(store, command(CREATE, order_id))
    disturbed = Disturbed(store, lambda: move(store, order_id), times)
    cancel = command(CancelOrder("CUSTOMER"), order_id)
    if succeeds:
        assert do(disturbed, cancel).version == times + 2  # type: ignore[arg-type]
        assert disturbed.tries == times + 1
    else:
        with pytest.raises(Conflict):
            do(disturbed, cancel)  # type: ignore[arg-type]
        assert disturbed.tries == 5
        assert store.find_command(cancel.envelope.id) is None


def test_the_record_time_never_goes_back_within_an_aggregate(store: EventStore, order_id: str) -> None:
    do(store, command(CREATE, order_id), NOON)
    do(store, command(ConfirmOrder(), order_id, at=NOON - timedelta(hours=1)), NOON - timedelta(hours=1))
    assert [event.envelope.recorded_at for event in store.read("orders", order_id)] == [NOON, NOON]


def test_nothing_stays_of_a_unit_that_raises(store: EventStore, order_id: str) -> None:
    create = command(CREATE, order_id)
    with pytest.raises(ZeroDivisionError), store.transaction() as unit:
        handle(unit, ORDERS, create, NOON)
        raise ZeroDivisionError
    assert store.find_head("orders", order_id).version == 0
    assert do(store, create).outcome == "DONE"


def test_two_threads_with_one_id_make_one_order(orders_pool: Pool, order_id: str) -> None:
    store, create = PostgresEventStore(orders_pool, AvroCodec()), command(CREATE, order_id)
    together, answers, running = threading.Barrier(4), list[Answer](), list[str]()

    def place() -> None:
        together.wait(60)
        try:
            answers.append(do(store, create))
        except StillRunning as error:
            running.append(error.command_id)

    threads = [threading.Thread(target=place) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(answers) + len(running) == 4
    assert len(set(answers)) == 1
    assert store.find_head("orders", order_id).version == 1


def test_a_head_that_another_transaction_holds_is_busy(orders_pool: Pool, order_id: str) -> None:
    store = PostgresEventStore(orders_pool, AvroCodec())
    do(store, command(CREATE, order_id))
    with store.transaction() as unit:
        handle(unit, ORDERS, command(ConfirmOrder(), order_id), NOON)
        with pytest.raises(Busy):
            do(store, command(CancelOrder("CUSTOMER"), order_id))


def test_an_append_behind_a_held_head_is_busy(orders_pool: Pool, order_id: str) -> None:
    store = PostgresEventStore(orders_pool, AvroCodec())
    do(store, command(CREATE, order_id))
    late = later(store, order_id, OrderConfirmed())
    with store.transaction() as unit:
        handle(unit, ORDERS, command(ConfirmOrder(), order_id), NOON)
        with pytest.raises(Busy):
            store.append(late)


def test_a_kept_head_of_a_history_that_was_undone_is_a_conflict(orders_pool: Pool, order_id: str) -> None:
    store = PostgresEventStore(orders_pool, AvroCodec())
    store.append(later(store, order_id, CREATED))
    head = store.find_head("orders", order_id)
    cause = command(CREATE, order_id)
    for undone in (replace(head, recorded_at=NOON - timedelta(seconds=1)), replace(head, version=2)):
        with pytest.raises(Conflict):
            store.append_behind(undone, lambda head: append_of(ORDERS, Loaded(head, Order()), (CREATED,), cause))
    assert store.find_head("orders", order_id) == head


def test_a_connection_that_the_server_ended_is_replaced_before_it_is_used(
    orders_pool: Pool, orders_database: ServiceDatabase, postgres: PostgresHost, order_id: str
) -> None:
    store = PostgresEventStore(orders_pool, AvroCodec())
    do(store, command(CREATE, order_id))
    with psycopg.connect(postgres.superuser_url, autocommit=True) as administrator:
        ended = administrator.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = %s", (orders_database.name,)
        ).fetchall()
    assert ended
    assert store.find_head("orders", order_id).version == 1


def test_a_head_held_in_memory_is_busy_too(order_id: str) -> None:
    store = MemoryEventStore()
    store.held.add(f"orders/{order_id}")
    with pytest.raises(Busy):
        do(store, command(CREATE, order_id))
