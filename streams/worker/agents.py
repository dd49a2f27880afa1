"""The agents: thin loops that decode, skip repeats, fold and send; each batch is one Kafka transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from faust_rdkafka import App, Batch, BatchSchema
from schemas.codec import Codec
from schemas.envelope import Message
from schemas.records import decode_record, encode_record
from schemas.topics import (
    INVENTORY_COMMANDS,
    ORDERS_EVENTS,
    SAGAS_DEADLINES,
    SAGAS_REPLIES,
    TABLES,
)
from streams.errors import StreamError
from streams.inventory.commands import InventoryTables, handle
from streams.outgoing import Outgoing
from streams.read_models.orders_by_customer import rekey
from streams.read_models.table_of_tables import ReadModel, read_model
from streams.sagas.deadlines import Deadlines, Inputs, Offsets
from streams.sagas.inputs import SagaInputs
from streams.sagas.listing import SagaList
from streams.worker.letters import REFUSED
from streams.worker.saga_pass import SagaPass

# How often the worker looks for sagas that are due: the precision of deadlines.
DEADLINE_INTERVAL_S = 0.5
SAGA_TOPICS = (ORDERS_EVENTS, SAGAS_REPLIES, SAGAS_DEADLINES)
# What may hold an answer that a deadline has to wait for.
ANSWER_TOPICS = (ORDERS_EVENTS, SAGAS_REPLIES)

Handler = Callable[[Batch], None]


@dataclass(frozen=True, slots=True)
class Agents:
    """What the agents share: the app, its tables by name, codec, clock, the deadlines and the list of the sagas."""

    app: App
    tables: dict[str, Any]
    codec: Codec
    clock: Callable[[], datetime]
    deadlines: Deadlines
    sagas: SagaList

    def send(self, outgoing: list[Outgoing]) -> None:
        """Into the batch's transaction; the record's timestamp is the message's recorded_at."""
        for sent in outgoing:
            key, value, headers = encode_record(sent.message, self.codec)
            timestamp = sent.message.envelope.recorded_at.timestamp()
            self.app.emit(sent.topic, key, value, headers, timestamp=timestamp)

    def each(self, batch: Batch, act: Callable[[Message], None]) -> None:
        """Acts on each message; one that is refused by name becomes a dead letter, having changed nothing."""
        for index, message in enumerate(batch.values):
            try:
                act(message)
            except StreamError as error:
                self.app.set_aside(batch.raw(index), REFUSED, error)


def declare(app: App, codec: Codec, clock: Callable[[], datetime]) -> Agents:
    """Tables, agents and timer of the whole worker, registered with the app."""
    tables = {name: app.Table(name) for name in TABLES}
    agents = Agents(app, tables, codec, clock, Deadlines(), SagaList())
    _agent(agents, "reserve_stock", (INVENTORY_COMMANDS,), partial(_reserve_stock, agents))
    _agent(agents, "orchestrate_orders", SAGA_TOPICS, partial(_orchestrate_orders, agents))
    _agent(agents, "project_orders", (ORDERS_EVENTS,), partial(_project_orders, agents))
    for name in ("orders_by_customer", "stock"):
        model = read_model(name)
        _agent(agents, f"project_{name}", (model.topic,), partial(_project, agents, model))
    _watch_sagas(agents)
    _watch_deadlines(agents)
    return agents


def _agent(agents: Agents, name: str, topics: tuple[str, ...], act: Handler) -> None:
    schema = BatchSchema(lambda headers, value: decode_record(headers, value, agents.codec), headers=True)

    async def loop(batches: Any) -> None:
        async for batch in batches:
            act(batch)

    agents.app.agent(agents.app.topic(*topics, schema=schema), name=name)(loop)


def _reserve_stock(agents: Agents, batch: Batch) -> None:
    names = ("stock_levels", "holds", "stock_commands")
    tables = InventoryTables(*(agents.tables[name].partition(batch.partition) for name in names))
    at = agents.clock()
    agents.each(batch, lambda command: agents.send(handle(command, tables, at)))


def _orchestrate_orders(agents: Agents, batch: Batch) -> None:
    inputs = SagaInputs(agents.tables["order_sagas"].partition(batch.partition), agents.clock())
    agents.each(batch, lambda message: agents.send(inputs.handle(message)))
    inputs.save()
    agents.sagas.changing(batch.partition, agents.tables["order_sagas"].committed(batch.partition), inputs.changed)
    agents.deadlines.note(batch.partition, inputs.changed.values())


def _project_orders(agents: Agents, batch: Batch) -> None:
    model, rows = read_model("orders"), agents.tables["orders"].partition(batch.partition)
    at = agents.clock()

    def act(event: Message) -> None:
        key = model.key(event)
        row = model.evolve(rows.get(key), event)
        if row is not None:
            rows[key] = row
            agents.send([rekey(row, event, at)])

    agents.each(batch, act)


def _project(agents: Agents, model: ReadModel, batch: Batch) -> None:
    rows = agents.tables[model.name].partition(batch.partition)

    def act(event: Message) -> None:
        key = model.key(event)
        row = model.evolve(rows.get(key), event)
        if row is not None:
            rows[key] = row

    agents.each(batch, act)


def _watch_sagas(agents: Agents) -> None:
    app, table = agents.app, agents.tables["order_sagas"]
    rows = SagaPass(table, agents.deadlines, agents.sagas)

    @app.on_partitions_restored
    def begin(partitions: set[int]) -> None:
        for partition in partitions:
            rows.begin(partition)

    @app.on_partitions_dropped
    def drop(partitions: set[int]) -> None:
        for partition in partitions:
            rows.drop(partition)

    @app.on_commit
    def changed(name: str, partition: int, order_ids: Collection[Any]) -> None:
        if name == table.name:
            agents.sagas.changed(partition, table.committed(partition), order_ids)


def _watch_deadlines(agents: Agents) -> None:
    app, deadlines, table = agents.app, agents.deadlines, agents.tables["order_sagas"]
    inputs = _inputs(app)

    @app.batch_timer(DEADLINE_INTERVAL_S)
    async def fire_deadlines() -> None:
        now = agents.clock()
        for partition in sorted(table.partitions_owned()):
            agents.send(await deadlines.fire(partition, table.partition(partition), inputs, now))


def _inputs(app: App) -> Inputs:
    def assigned(partition: int) -> dict[str, Any]:
        return {tp.topic: tp for tp in app.consumer.assignment() if tp.partition == partition}

    async def end_offsets(partition: int) -> Offsets:
        tps = [tp for topic, tp in assigned(partition).items() if topic in ANSWER_TOPICS]
        return {tp.topic: offset for tp, offset in (await app.consumer.end_offsets(tps)).items()}

    def positions(partition: int) -> Offsets | None:
        found = {topic: app.consumer.position(tp) for topic, tp in assigned(partition).items()}
        known = {topic: offset for topic, offset in found.items() if offset is not None}
        return known if set(ANSWER_TOPICS) <= set(known) else None

    return Inputs(end_offsets, positions)
