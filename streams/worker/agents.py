"""The agents: thin loops that decode, skip repeats, fold and send; each batch is one Kafka transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from faust_rdkafka import App, Batch, BatchSchema
from schemas.codec import Codec
from schemas.envelope import Headers, Message
from schemas.errors import Undecodable
from schemas.records import decode_record, encode_record
from schemas.topics import (
    DEAD_LETTERS_COMMANDS,
    INVENTORY_COMMANDS,
    ORDERS_EVENTS,
    SAGAS_DEADLINES,
    SAGAS_REPLIES,
    TABLES,
)
from streams.errors import StreamError
from streams.inventory.commands import InventoryTables, handle
from streams.letters.kept import Kept, TooLarge
from streams.letters.lanes import lane_of
from streams.outgoing import Outgoing
from streams.read_models.orders_by_customer import rekey
from streams.read_models.table_of_tables import READ_MODELS, ReadModel, read_model
from streams.rebuilds.building import Rebuilds
from streams.sagas.deadlines import Deadlines, Inputs, Offsets
from streams.sagas.inputs import SagaInputs
from streams.sagas.listing import SagaList
from streams.worker.old_holds import watch_old_holds
from streams.worker.parking import TABLE as WAITING
from streams.worker.parking import Parking
from streams.worker.redriving import Redriving
from streams.worker.saga_pass import SagaPass

# How often the worker looks for sagas that are due: the precision of deadlines.
DEADLINE_INTERVAL_S = 0.5
SAGA_TOPICS = (ORDERS_EVENTS, SAGAS_REPLIES, SAGAS_DEADLINES)
# The agent whose lanes are parked sagas.
ORCHESTRATE = "orchestrate_orders"
# Before a read model's name it is its agent's.
PROJECT = "project_"
# What may hold an answer that a deadline has to wait for.
ANSWER_TOPICS = (ORDERS_EVENTS, SAGAS_REPLIES)

# Reads a record for every agent; what cannot be read is a value too, as its lane depends on who reads it.
Read = Message | Undecodable


@dataclass(frozen=True, slots=True)
class Work:
    """One batch of one agent in one partition: `act` on each message, then `end`."""

    act: Callable[[Message], None]
    end: Callable[[], None] = lambda: None


Begin = Callable[[int], Work]


@dataclass(frozen=True, slots=True)
class Agents:
    """What the agents share: the app, its tables by name, codec, clock, deadlines and list of the sagas, what is set aside.

    `tables` and `models` have the served version of each read model.
    """

    app: App
    tables: dict[str, Any]
    codec: Codec
    clock: Callable[[], datetime]
    deadlines: Deadlines
    sagas: SagaList
    parking: Parking
    models: dict[str, ReadModel]
    rebuilds: Rebuilds
    # Decodes a record: one function for all agents, so that those of one topic have it decoded once.
    read: Callable[[Headers, bytes | None], Read]
    begin_by_agent: dict[str, Begin] = field(default_factory=dict)

    def send(self, outgoing: list[Outgoing]) -> None:
        """Into the batch's transaction; the record's timestamp is the message's recorded_at."""
        for sent in outgoing:
            key, value, headers = encode_record(sent.message, self.codec)
            timestamp = sent.message.envelope.recorded_at.timestamp()
            self.app.emit(sent.topic, key, value, headers, timestamp=timestamp)

    def work(self, agent: str, batch: Batch) -> None:
        """Acts on each message in order; one that cannot be had is set aside, and what depends on it waits behind it.

        What a rule refuses by name has changed nothing. Any other error undoes the batch, and the transport runs it
        again record by record: then it is undone and set aside alone.
        """
        lanes, parking = self.parking.lanes(batch.partition), self.parking
        # Asked once: without any lane a record costs nothing more than its own work.
        occupied = bool(lanes)
        work = None if len(batch) == 1 else self.begin_by_agent[agent](batch.partition)
        for index, read in enumerate(batch.values):
            if isinstance(read, Undecodable):
                parking.set_aside(agent, batch.raw(index), None, read)
                occupied = True
                continue
            if occupied and parking.waits(agent, lanes, batch.topic, read):
                parking.put_behind(agent, batch.raw(index), read)
                continue
            try:
                if work is None:
                    self.work_one(agent, batch.partition, read)
                else:
                    work.act(read)
            except Exception as error:
                if work is not None and not isinstance(error, StreamError):
                    raise
                parking.set_aside(agent, batch.raw(index), read, error)
                occupied = True
        if work is not None:
            work.end()

    def work_one(self, agent: str, partition: int, message: Message) -> None:
        """Acts on one message; what it raises has undone all that it did."""
        with self.app.savepoint():
            work = self.begin_by_agent[agent](partition)
            work.act(message)
            work.end()

    def try_again(self, kept: Kept) -> None:
        """A record that was set aside, with the codec and the rules of today."""
        if kept.digest is not None:
            raise TooLarge(kept.digest)
        message = decode_record(kept.record.headers, kept.record.value, self.codec)
        self.work_one(kept.agent, kept.record.partition, message)
        self.rebuilds.redriven(kept.agent.removeprefix(PROJECT), kept.record, message)

    def shown_as(self, table: str) -> str:
        """The name under which people read a table: a read model's own, whichever version of its table is served."""
        name = table.partition("-v")[0]
        return name if name in self.models and self.tables[name].name == table else table


def declare(
    app: App, codec: Codec, clock: Callable[[], datetime], models: tuple[ReadModel, ...] = READ_MODELS
) -> Agents:
    """Tables, agents and timer of the whole worker, registered with the app."""
    tables = {name: app.Table(name) for name in TABLES}
    parking = Parking(app, tables[WAITING], codec, clock)
    served = {model.name: read_model(model.name, 1, models) for model in models}
    read = partial(_read, codec)
    rebuilds = Rebuilds(app, tables, served, models, read)
    agents = Agents(app, tables, codec, clock, Deadlines(), SagaList(), parking, served, rebuilds, read)
    _agent(agents, "reserve_stock", (INVENTORY_COMMANDS,), partial(_reserve_stock, agents))
    _agent(agents, ORCHESTRATE, SAGA_TOPICS, partial(_orchestrate_orders, agents))
    for name, model in served.items():
        begin = partial(_project_orders, agents) if name == "orders" else partial(_project, agents, name)
        _agent(agents, f"{PROJECT}{name}", (model.topic,), begin)
    redriving = Redriving(parking, agents.try_again)
    _agent(agents, "redrive_letters", (DEAD_LETTERS_COMMANDS,), partial(_redrive_letters, agents, redriving))
    _watch_sagas(agents)
    _watch_deadlines(agents)
    watch_old_holds(app, tables["stock_levels"], tables["holds"], agents.send, clock)
    app.on_commit(parking.committed)
    app.on_partitions_restored(parking.restored)
    app.on_partitions_dropped(parking.dropped)
    return agents


def _agent(agents: Agents, name: str, topics: tuple[str, ...], begin: Begin) -> None:
    agents.begin_by_agent[name] = begin
    for topic in topics:
        agents.parking.readers.setdefault(topic, []).append(name)
    followed = name.removeprefix(PROJECT)

    async def loop(batches: Any) -> None:
        async for batch in batches:
            agents.work(name, batch)
            agents.rebuilds.follow(followed, batch)

    agents.app.agent(agents.app.topic(*topics, schema=BatchSchema(agents.read, headers=True)), name=name)(loop)


def _read(codec: Codec, headers: Headers, value: bytes | None) -> Read:
    try:
        return decode_record(headers, value, codec)
    except Undecodable as error:
        return error


def _reserve_stock(agents: Agents, partition: int) -> Work:
    names = ("stock_levels", "holds", "stock_commands")
    tables = InventoryTables(*(agents.tables[name].partition(partition) for name in names))
    at = agents.clock()
    return Work(lambda command: agents.send(handle(command, tables, at)))


def _orchestrate_orders(agents: Agents, partition: int) -> Work:
    table = agents.tables["order_sagas"]
    inputs = SagaInputs(table.partition(partition), agents.clock())

    def end() -> None:
        inputs.save()
        agents.sagas.changing(partition, table.committed(partition), inputs.changed)
        agents.deadlines.note(partition, inputs.changed.values())

    return Work(lambda message: agents.send(inputs.handle(message)), end)


def _project_orders(agents: Agents, partition: int) -> Work:
    model, rows = agents.models["orders"], agents.tables["orders"].partition(partition)
    at = agents.clock()

    def act(event: Message) -> None:
        key = model.key(event)
        row = model.evolve(rows.get(key), event)
        if row is not None:
            rows[key] = row
            agents.send([rekey(row, event, at)])

    return Work(act)


def _project(agents: Agents, name: str, partition: int) -> Work:
    model, rows = agents.models[name], agents.tables[name].partition(partition)

    def act(event: Message) -> None:
        key = model.key(event)
        row = model.evolve(rows.get(key), event)
        if row is not None:
            rows[key] = row

    return Work(act)


def _redrive_letters(agents: Agents, redriving: Redriving, partition: int) -> Work:
    return Work(lambda message: agents.send(redriving.handle(message, partition)))


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
            fired = await deadlines.fire(partition, table.partition(partition), inputs, now)
            lanes = agents.parking.lanes(partition)
            # A parked saga hears of its deadline once it goes on: the deadline comes up again until then.
            agents.send([out for out in fired if lane_of(ORCHESTRATE, out.message.envelope.subject) not in lanes])


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
