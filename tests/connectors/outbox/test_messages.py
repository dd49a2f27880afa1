"""An outbox without a table: logical messages are routed as rows are, each once, and no bytes stop the connector."""

from __future__ import annotations

import json
import signal
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.outbox import DebeziumPlacement, Routing
from connectors.outbox.errors import BadOption, InvalidOperation
from connectors.outbox.messages import MessageRows
from connectors.outbox.routing import Record, Unroutable
from connectors.outbox.standalone import config_of
from connectors.outbox.waiting.asking import ask, until_answered
from connectors.outbox.waiting.entries import Request

PLACE = (0x1_0000_0010, 2)
RULES = Routing(
    timestamp_field="at",
    placements=DebeziumPlacement.parse_list("type:header,version:header,done:header,shard:partition"),
)
WHOLE = {"id": "i1", "aggregatetype": "order", "aggregateid": "o7", "payload": "text"}
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda one: st.lists(one) | st.dictionaries(st.text(), one),
)


def content(**members: Any) -> bytes:
    return json.dumps(WHOLE | members).encode()


def framed(head: bytes, payload: bytes) -> bytes:
    return b"\0" + len(head).to_bytes(4, "big") + head + payload


def record(message: bytes, rules: Routing = RULES) -> Record:
    route, values, fault = MessageRows(rules, "outbox").row(message, PLACE)
    assert fault is None
    return route.record(values)


def test_members_are_columns() -> None:
    found = record(content(type="PLACED", version=3, done=True, shard=1, at="2026-11-25T12:00:00.5Z", more="ignored"))
    assert (found.topic, found.key, found.value, found.partition) == ("outbox.event.order", b"o7", b"text", 1)
    assert found.timestamp_ms == 1_795_608_000_500
    assert dict(found.headers) == {"id": b"i1", "type": b"PLACED", "version": b"3", "done": b"true"}


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        ("text", b"text"),
        ({"a": [1, None, "ä"]}, '{"a":[1,null,"ä"]}'.encode()),
        ([], b"[]"),
        (None, None),
        (12, b"12"),
    ],
)
def test_a_payload_is_any_json(payload: Any, value: bytes | None) -> None:
    assert record(content(payload=payload)).value == value


def test_no_digit_of_a_number_is_lost() -> None:
    digits = b'{"aggregatetype":"t","aggregateid":12345678901234567890123,"payload":{"n":0.1234567890123456789012}}'
    found = record(digits)
    assert (found.key, found.value) == (b"12345678901234567890123", b'{"n":0.1234567890123456789012}')


@given(st.binary(max_size=200))
def test_a_payload_behind_the_object_is_carried_as_it_is(payload: bytes) -> None:
    head = json.dumps({"aggregatetype": "order", "aggregateid": "o7"}).encode()
    assert record(framed(head, payload)).value == payload


def test_a_number_whose_exponent_is_beyond_all_bounds_makes_no_record() -> None:
    with pytest.raises(Unroutable, match="exponent"):
        record(b'{"aggregatetype":"t","aggregateid":1E%s}' % (b"9" * 30))


def test_without_an_id_the_place_in_the_log_is_the_id() -> None:
    found = record(b'{"aggregatetype":"order","aggregateid":"o7","payload":1}')
    assert dict(found.headers)["id"] == b"1/10+2"


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        (b"", "Expecting value"),
        (b"[1]", "no JSON object"),
        (b"\xff", "utf-8"),
        (b'{"aggregatetype": NaN}', "NaN is no JSON"),
        (b"\0\0\0", "ends within its head"),
        (framed(b"{}", b"")[:6], "ends within its head"),
        (framed(b'{"payload":1}', b"x"), "stands both"),
        (content(at=[]), "time"),
        (content(at=1.5), "timestamp"),
        (b"[" * 100_000, "recursion"),
        (content(payload="\ud800"), "surrogates"),
    ],
)
def test_what_is_no_row_keeps_its_content_for_the_letter(message: bytes, fault: str) -> None:
    route, values, found = MessageRows(RULES, "outbox").row(message, PLACE)
    assert found is not None
    assert fault in found
    saved = route.salvage(values)
    assert (route.row_id(values), saved.topic, saved.key, saved.value) == ("1/10+2", "", None, message)


@given(
    st.binary(max_size=200)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(st.sampled_from([*WHOLE, "at", "shard", "version"]), JSON).map(
        lambda value: json.dumps(value).encode()
    )
)
def test_any_bytes_are_a_row_or_a_fault(message: bytes) -> None:
    route, values, fault = MessageRows(RULES, "outbox").row(message, PLACE)
    assert len(values) == len(route.columns)
    if fault is None:
        try:
            route.record(values)
        except Unroutable:
            pass


def test_the_command_line_takes_messages_alone_or_beside_a_table() -> None:
    given_ = ["--source-url", "postgresql:///x", "--bootstrap", "k:1"]
    assert config_of([*given_, "--messages", "outbox"]).tables == ()
    assert config_of([*given_, "--messages", "outbox", "--table", "o"]).tables == (("public", "o"),)
    assert config_of(given_).message_prefix is None
    with pytest.raises(BadOption, match="prefix"):
        config_of([*given_, "--messages", ""])


EMIT = "select pg_logical_emit_message({transactional}, '{prefix}', '{content}')"


def emit(number: int, transactional: bool = True, prefix: str = "outbox", key: str = "k") -> str:
    text = json.dumps({"aggregatetype": "t", "aggregateid": key, "payload": number})
    return EMIT.format(transactional=transactional, prefix=prefix, content=text)


def numbers(outbox: Any, count: int) -> list[int]:
    return [int(one.value()) for one in outbox.until_read(count, outbox.topic("t"))]


def test_messages_and_rows_of_one_transaction_come_in_the_order_in_which_they_were_written(outbox: Any) -> None:
    outbox.create_topic("t", 1)
    running = outbox.start(message_prefix="outbox").until_ready()
    row = "insert into outbox (aggregatetype, aggregateid, payload) values ('t', 'k', '{}')"
    with psycopg.connect(outbox.url) as connection:
        for statement in (emit(1), row.format(2), emit(3), emit(99, prefix="another"), row.format(4)):
            connection.execute(statement.encode())
        connection.commit()
        connection.execute(emit(98).encode())
        connection.rollback()
        connection.execute(emit(97, transactional=False).encode())
    outbox.sql(emit(5))
    assert numbers(outbox, 5) == [1, 2, 3, 4, 5]
    assert running.metrics.skipped_operations_total == 1
    assert running.end() == 0


def test_a_message_that_is_not_of_its_transaction_can_be_fatal(bare_outbox: Any) -> None:
    given_: dict[str, Any] = {"table": "", "message_prefix": "outbox", "routing": {"invalid_operation": "fatal"}}
    running = bare_outbox.start(**given_).until_ready()
    bare_outbox.sql(emit(1, transactional=False), emit(2))
    assert running.exit_code() == InvalidOperation.exit_code


def test_a_message_that_is_no_row_becomes_a_letter_and_holds_nobody_back(bare_outbox: Any) -> None:
    bare_outbox.create_topic("t")
    dead = bare_outbox.letters()
    given_ = {"table": "", "message_prefix": "outbox", "dead_letter_topic": dead.topic, "dead_letter": dead.write}
    running = bare_outbox.start(**given_).until_ready()
    bare_outbox.sql(
        emit(1),
        EMIT.format(transactional=True, prefix="outbox", content="no json"),
        emit(2),
        EMIT.format(transactional=True, prefix="outbox", content=json.dumps({"aggregateid": "k"})),
        emit(3),
        emit(4, key="l"),
    )
    running.until_rows(6)
    assert sorted(numbers(bare_outbox, 4)) == [1, 2, 3, 4]
    reasons = [letter.value() for letter in bare_outbox.read(dead.topic)]
    assert reasons[0].startswith(b"logical message: Expecting value")
    assert b"aggregatetype" in reasons[1]
    left = until_answered(running.config, ask(running.config, Request()), 60)
    assert left is not None
    assert len(left.entries) == 2
    assert running.end() == 0


def kill_between_messages(bare_outbox: Any, kills: int) -> None:
    """Transactions of one to forty messages, every fifth rolled back, in parts of ten; killed in the middle."""
    bare_outbox.create_topic("t")
    # What was written before there is a slot is nowhere.
    assert bare_outbox.start(table="", message_prefix="outbox").until_ready().end() == 0
    arguments, environment = ("--messages", "outbox"), {"TEST_PART_ROWS": "10"}
    process, committed, number = bare_outbox.spawn(*arguments, **environment), [], 0
    for _ in range(kills):
        with psycopg.connect(bare_outbox.url) as connection:
            for turn in range(40):
                written = range(number, number + 1 + (turn * 7) % 40)
                number = written.stop
                for one in written:
                    connection.execute(emit(one, key=f"k{one % 5}").encode())
                if turn % 5 == 4:
                    connection.rollback()
                else:
                    connection.commit()
                    committed += written
        assert process.poll() is None, process.stderr.read().decode()
        process.send_signal(signal.SIGKILL)
        process.wait()
        process = bare_outbox.spawn(*arguments, **environment)
    found = numbers(bare_outbox, len(committed))
    assert sorted(found) == committed
    by_key = [[one for one in found if one % 5 == key] for key in range(5)]
    assert all(versions == sorted(versions) for versions in by_key)


def test_every_message_comes_exactly_once_through_kills(bare_outbox: Any) -> None:
    kill_between_messages(bare_outbox, 2)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_message_comes_exactly_once_through_thirty_kills(bare_outbox: Any) -> None:
    kill_between_messages(bare_outbox, 30)
