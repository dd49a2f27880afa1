"""The verb publish: a command to a command topic, or anything to a topic that is not ours; never an event of ours."""

from __future__ import annotations

import json
import sys
from dataclasses import MISSING, fields
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from confluent_kafka import KafkaError, KafkaException, Producer

from schemas.codec import AvroCodec
from schemas.envelope import Message, from_rfc3339, new_id, now, to_rfc3339
from schemas.errors import Unencodable
from schemas.messages import MESSAGES, PARTS, class_of
from schemas.records import encode_record, first_message
from schemas.topics import TOPICS, Topic
from tally.cli.failures import NotFound, OutOfReach, VerbGroup, WrongUsage
from tally.cli.kafka import Bootstrap, address
from tally.cli.printing import Format, print_document

app = typer.Typer(cls=VerbGroup, rich_markup_mode=None)

SOURCE = "/tally/cli"
FLUSH_S = 10.0
# A topic that was made just now, or that the brokers make because it is written to, is known after a moment.
_UNKNOWN_FOR_S = 3.0
_NO_SUCH_TOPIC = (KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART)
_COMMAND_TOPICS = tuple(name for name in TOPICS if name.endswith(".commands"))
# What to say instead, to whom an event was refused.
_INSTEAD = {
    "orders.events": "tally orders place | cancel | ship | return, or tally publish orders.commands --type CREATE_ORDER",
    "payments.events": "tally publish payments.commands --type VOID_PAYMENT",
    "inventory.events": "tally stock receive | adjust, or tally publish inventory.commands --type RECEIVE_STOCK",
}


@app.command()
def publish(
    topic: Annotated[str, typer.Argument(help="A *.commands topic, or one that is not Tally's.")],
    key: Annotated[str, typer.Option("--key", "-k", help="The aggregate's id: an order id, a SKU.")],
    type_: Annotated[str, typer.Option("--type", help="Type on the wire, such as RECEIVE_STOCK.")],
    data: Annotated[str, typer.Option("--data", help="JSON, @FILE, or - for stdin.")] = "{}",
    bootstrap: Bootstrap = None,
    form: Format = None,
) -> None:
    """Publish one message. People publish commands; services publish events."""
    known = TOPICS.get(topic)
    if known is not None and topic not in _COMMAND_TOPICS:
        raise WrongUsage(_refusal(known))
    given = _read(data)
    if known is None:
        record: tuple[bytes, bytes, list[tuple[str, bytes]]] = _foreign(key, type_, given)
        id_ = record[2][1][1].decode()
    else:
        message = command(known, key, type_, given)
        id_, record = message.envelope.id, encoded(message)
    place = send(address(bootstrap), topic, record)
    print_document({"id": id_, "topic": topic, "partition": place[0], "offset": place[1]}, form)


def command(topic: Topic, key: str, type_: str, given: Any) -> Message:
    """The command that the command line describes. Raises WrongUsage."""
    cls = class_of(type_)
    allowed = [name.strip() for name in topic.messages.split(",")]
    if cls is None or type_ not in allowed:
        hint = "is no message of ours" if cls is None else f"does not belong on {topic.name}"
        raise WrongUsage(f"{type_} {hint}; {topic.name} takes {', '.join(allowed)}")
    if not key:
        raise WrongUsage("--key is empty")
    return first_message(SOURCE, topic.name.removesuffix(".commands"), key, build(cls, given, type_))


def build(cls: type, given: Any, name: str) -> Any:
    """An instance of a message's class from JSON. Raises WrongUsage with the field that is wrong."""
    if not isinstance(given, dict):
        raise WrongUsage(f"{name}: the data must be a JSON object")
    hints = get_type_hints(cls)
    if unknown := sorted(given.keys() - hints.keys()):
        raise WrongUsage(f"{name} has no field {', '.join(unknown)}; it has {', '.join(hints) or 'none'}")
    needed = [f.name for f in fields(cls) if f.default is MISSING and type(None) not in get_args(hints[f.name])]
    if missing := [field for field in needed if field not in given]:
        raise WrongUsage(f"{name} needs {', '.join(missing)}")
    return cls(**{field: _value(hint, given.get(field), f"{name}.{field}") for field, hint in hints.items()})


def _value(hint: Any, given: Any, name: str) -> Any:
    if get_origin(hint) is tuple and get_args(hint)[0] in PARTS:
        if not isinstance(given, list):
            raise WrongUsage(f"{name} must be a list")
        return tuple(build(get_args(hint)[0], item, f"{name}[{index}]") for index, item in enumerate(given))
    if given is None and type(None) in get_args(hint):
        return None
    if datetime in (hint, *get_args(hint)):
        try:
            return from_rfc3339(str(given))
        except ValueError:
            raise WrongUsage(f"{name} must be a moment as RFC 3339") from None
    for allowed in (str, int):
        if allowed in (hint, *get_args(hint)) and type(given) is not allowed:
            raise WrongUsage(f"{name} must be {'a text' if allowed is str else 'a whole number'}, not {given!r}")
    return given


def _refusal(topic: Topic) -> str:
    if topic.holds_events:
        instead = _INSTEAD.get(topic.name, f"a command to one of {', '.join(_COMMAND_TOPICS)}")
        return f"{topic.name} holds events, which only its service publishes; use: {instead}"
    return f"{topic.name} is written by Tally alone; commands go to {', '.join(_COMMAND_TOPICS)}"


def _read(data: str) -> Any:
    try:
        if data == "-":
            data = sys.stdin.read()
        elif data.startswith("@"):
            data = Path(data[1:]).read_text()
        return json.loads(data)
    except OSError as error:
        raise WrongUsage(f"--data {data}: {error.strerror}") from None
    except ValueError as error:
        raise WrongUsage(f"--data is no JSON: {error}") from None


def _foreign(key: str, type_: str, given: Any) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
    """A record for a topic that is not ours: JSON, with the type in CloudEvents' header."""
    headers = {
        "ce_specversion": "1.0",
        "ce_id": new_id(),
        "ce_type": type_,
        "ce_source": SOURCE,
        "ce_time": to_rfc3339(now()),
        "ce_subject": key,
    }
    body = _encoded_json(type_, given)
    return key.encode(), body, [(name, value.encode()) for name, value in headers.items()]


def _encoded_json(type_: str, given: Any) -> bytes:
    if type_ not in MESSAGES:
        return json.dumps(given, ensure_ascii=False).encode()
    try:
        return AvroCodec().encode(build(MESSAGES[type_], given, type_))
    except Unencodable as error:
        raise WrongUsage(str(error)) from None


def encoded(message: Message) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
    """Key, value and headers of a message. Raises WrongUsage for one that cannot be written."""
    try:
        return encode_record(message, AvroCodec())
    except Unencodable as error:
        raise WrongUsage(str(error)) from None


def send(bootstrap: str, topic: str, record: tuple[bytes, bytes, list[tuple[str, bytes]]]) -> tuple[int, int]:
    """Produces and waits for the broker's word; (partition, offset). Raises NotFound, OutOfReach, WrongUsage."""
    key, value, headers = record
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "partitioner": "murmur2_random",
            "enable.idempotence": True,
            "delivery.timeout.ms": round(FLUSH_S * 1_000),
            "topic.metadata.propagation.max.ms": round(_UNKNOWN_FOR_S * 1_000),
            "log_level": 0,
        }
    )
    done: list[tuple[Any, Any]] = []
    try:
        producer.produce(
            topic, key=key, value=value, headers=headers, on_delivery=lambda error, sent: done.append((error, sent))
        )
    except KafkaException as error:
        raise WrongUsage(f"{topic}: {error.args[0].str()}") from None
    producer.flush(FLUSH_S + 1)
    refusal = done[0][0] if done else None
    if refusal is not None and refusal.code() in _NO_SUCH_TOPIC:
        raise NotFound(f"there is no topic {topic}; make it: tally topics create {topic} --partitions N")
    if refusal is not None and refusal.code() == KafkaError.TOPIC_EXCEPTION:
        raise WrongUsage(f"{topic!r} is no name that a topic can have")
    if refusal is not None or not done:
        reason = refusal.str() if refusal is not None else "no answer in time"
        raise OutOfReach(f"Kafka at {bootstrap} did not take it: {reason}")
    return done[0][1].partition(), done[0][1].offset()
