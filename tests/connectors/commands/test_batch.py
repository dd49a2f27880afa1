"""A batch of commands in one transaction: what each guard refuses, without Kafka in front of it."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from connectors.commands import SinkConfig, positions
from connectors.commands.attempt import Attempts, Outcome
from connectors.commands.batch import Batches
from connectors.commands.database import Away
from connectors.commands.handler import Connection
from connectors.commands.letters import Letters
from connectors.commands.positions import PositionMoved
from connectors.consuming import Record
from schemas.codec import AvroCodec
from schemas.envelope import Envelope, Message, new_id, now
from schemas.messages import CancelOrder
from schemas.records import encode_record

CODEC = AvroCodec()


class Writes:
    """A handler that writes one row."""

    def handle(self, connection: Connection, command: Message) -> None:
        connection.execute("insert into effects (key, seq, worker) values (%s, 0, 0)", [command.envelope.subject])


def record(offset: int, key: str) -> Record:
    id_ = new_id()
    envelope = Envelope(id_, "CANCEL_ORDER", "/tally/tests", "orders", key, None, now(), id_, id_)
    record_key, value, headers = encode_record(Message(envelope, CancelOrder(reason="x")), CODEC)
    return Record("t", 0, offset, record_key, value, headers)


@pytest.fixture
def batches(place: Any) -> Batches:
    config = SinkConfig("tests", "t", place.bootstrap, place.database_url)
    return Batches(config, Attempts("tests", Writes(), CODEC), Letters("tests", CODEC))


def test_who_believes_in_an_old_position_has_no_effect(place: Any, batches: Batches) -> None:
    with psycopg.connect(place.database_url, autocommit=True) as connection:
        assert positions.read(connection, "t", [0]) == {0: 0}
        batches.work(connection, {0: 0}, [record(0, "a"), record(3, "b")])
        assert positions.read(connection, "t", [0]) == {0: 4}
        with pytest.raises(PositionMoved):
            batches.work(connection, {0: 0}, [record(0, "a"), record(3, "b")])
    assert place.effects() == 2


def test_who_believes_in_an_old_position_works_no_parked_command(place: Any, batches: Batches) -> None:
    with psycopg.connect(place.database_url, autocommit=True) as connection:
        positions.read(connection, "t", [0])
        place.ask(
            "insert into parked_commands (topic, partition, record_offset, key, value, header_names, header_values, reason)"
            " values ('t', 0, 0, 'a', null, '{}', '{}', 'LockNotAvailable')"
        )
        with pytest.raises(PositionMoved):
            batches.retry(connection, {0: 9})
        worked = batches.retry(connection, {0: 0})
    assert (worked.outcomes[Outcome.DEAD_LETTERED], worked.parked_rows) == (1, 1)


def test_a_position_row_that_another_transaction_holds_makes_the_batch_wait(place: Any, batches: Batches) -> None:
    with psycopg.connect(place.database_url, autocommit=True) as connection:
        positions.read(connection, "t", [0])
        connection.execute("set lock_timeout = 50")
        with psycopg.connect(place.database_url) as holder:
            holder.execute("select 1 from sink_positions for update")
            with pytest.raises(Away):
                batches.work(connection, {0: 0}, [record(0, "a")])
        batches.work(connection, {0: 0}, [record(0, "a")])
    assert place.effects() == 1


def test_a_record_set_aside_twice_is_one_letter(place: Any, batches: Batches) -> None:
    broken = Record("t", 0, 5, b"k", b"not ours", [("ce_type", b"\xff")])
    with psycopg.connect(place.database_url, autocommit=True) as connection:
        positions.read(connection, "t", [0])
        batches.work(connection, {0: 0}, [broken])
        place.ask("update sink_positions set next_offset = 0")
        batches.work(connection, {0: 0}, [broken])
    assert place.ask("select topic, aggregatetype from outbox") == [("dead-letters", "dead-letters")]


def test_a_record_without_key_value_and_headers_is_set_aside(place: Any, batches: Batches) -> None:
    with psycopg.connect(place.database_url, autocommit=True) as connection:
        positions.read(connection, "t", [0])
        worked = batches.work(connection, {0: 0}, [Record("t", 0, 0, None, None, [])])
    assert worked.outcomes == {Outcome.DEAD_LETTERED: 1}
