"""Dead letters as they stand in their topic, and acts on them: asked of whoever set the records aside."""

from __future__ import annotations

import time
from typing import Any

from confluent_kafka import KafkaError, Producer

from producers.api.asked_of_kafka import KafkaSilent
from schemas.codec import AvroCodec
from schemas.envelope import body_to_json, to_json
from schemas.errors import Undecodable
from schemas.keys import SEPARATOR
from schemas.letters import DISCARD, FAILED
from schemas.messages import ActOnDeadLetters, DeadLettered, DeadLettersActed
from schemas.records import decode_record, encode_record, first_message
from schemas.topics import AUDIT_TRAIL, DEAD_LETTERS, DEAD_LETTERS_COMMANDS
from tally.reading.reader import Reader, UnknownTopic, Unreachable, answered, whole

SOURCE = "/tally/cli"
SENT_WITHIN_S = 10.0
LOOK_AGAIN_S = 0.2

Row = dict[str, Any]
# Topic, partition (-1: by key), key, value, headers.
Sent = tuple[str, int, bytes, bytes | None, list[tuple[str, bytes]]]


def letters(reader: Reader, only: str | None = None) -> dict[str, Row]:
    """The letters that are there, by id."""
    codec = AvroCodec()
    return {id_: _row(id_, value, codec) for id_, value in _kept(reader).items() if only in (None, id_)}


class KafkaLetters:
    """Letters for the API, each time anew: few people ask, and few letters there should be."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap, self._codec = bootstrap, AvroCodec()

    def read(self) -> list[Row]:
        """See `producers.api.asked_of_kafka.Letters`."""
        try:
            with Reader(self._bootstrap) as reader:
                return [_row_for_all(id_, value, self._codec) for id_, value in _kept(reader).items()]
        except (Unreachable, UnknownTopic) as error:
            raise KafkaSilent(str(error)) from None


def _kept(reader: Reader) -> dict[str, bytes]:
    """The last of each key counts, and a record without value takes it away. Raises UnknownTopic, Unreachable."""
    starts, ends = whole(reader, (DEAD_LETTERS,))
    last = {
        (record.key or b"").decode(errors="backslashreplace"): record.value
        for record in answered(reader.read(starts, ends))
    }
    return {id_: value for id_, value in last.items() if value is not None}


def act(bootstrap: str, wish: ActOnDeadLetters, rows: list[Row]) -> None:
    """Sends an act to the partitions in which the records stood. Raises Unreachable."""
    subject = wish.letter or wish.key or "all"
    sent: list[Sent] = []
    for partition in sorted({row["partition"] for row in rows}):
        record = encode_record(first_message(SOURCE, "dead-letters", subject, wish), AvroCodec())
        sent.append((DEAD_LETTERS_COMMANDS, partition, *record))
    _send(bootstrap, sent)


def discard_unowned(bootstrap: str, row: Row, wish: ActOnDeadLetters) -> None:
    """Takes a letter away that nobody keeps a record for, and tells the audit trail. Raises Unreachable."""
    letter = row["id"]
    body = DeadLettersActed(wish.act, wish.by, wish.reason, row["origin"] or "", letter, wish.key, 1, 0)
    key, value, headers = encode_record(first_message(SOURCE, "dead-letters", letter, body), AvroCodec())
    _send(bootstrap, [(AUDIT_TRAIL, -1, key, value, headers), (DEAD_LETTERS, -1, letter.encode(), None, [])])


def settle(reader: Reader, wish: ActOnDeadLetters, rows: list[Row], within_s: float) -> list[Row] | None:
    """What is left of the lanes of `rows` once each has answered; None if one did not in time.

    A lane has answered when it is empty, or when a record in it has failed once more; a discard when its letters are gone.
    """
    ends_at_s = time.monotonic() + within_s
    lanes, before = {row["lane"] for row in rows}, {row["id"]: row["attempts"] or 0 for row in rows}
    while True:
        left = [row for row in letters(reader).values() if row["lane"] in lanes]
        failed = {row["lane"] for row in left if row["state"] == FAILED and row["attempts"] > before.get(row["id"], 0)}
        if wish.act == DISCARD and not any(row["id"] in before for row in left if _is_meant(wish, row)):
            return []
        if {row["lane"] for row in left} <= failed:
            return left
        if time.monotonic() > ends_at_s:
            return None
        time.sleep(LOOK_AGAIN_S)


def _is_meant(wish: ActOnDeadLetters, row: Row) -> bool:
    return wish.letter in (None, row["id"])


def _row(id_: str, value: bytes, codec: AvroCodec) -> Row:
    nothing = dict.fromkeys(("recorded_at", "origin", "topic", "partition", "offset", "key", "error", "lane", "state"))
    try:
        letter: DeadLettered = codec.decode(value)
    except Undecodable as error:
        return {"id": id_, **nothing, "recorded_at": "", "attempts": None, "about": None, "reason": _unreadable(error)}
    row = body_to_json(letter)
    row["value_hex"] = row.pop("value")
    row |= {"key": _text(letter.key), "headers": {name: _text(content) for name, content in letter.headers.items()}}
    row["state"] = letter.state or FAILED
    row["history"] = (letter.history or "").split("\n") if letter.history else []
    # Anybody may write to the topic: a lane that is none of ours has one part.
    row["about"] = None if letter.lane is None else [*letter.lane.split(SEPARATOR), None][1]
    return {"id": id_, **row, "decoded": _decoded(letter, codec)}


def _row_for_all(id_: str, value: bytes, codec: AvroCodec) -> Row:
    """What everybody may see of a letter; `_row` has the record itself."""
    try:
        letter: DeadLettered = codec.decode(value)
    except Undecodable as error:
        nothing = dict.fromkeys(("topic", "partition", "offset", "key", "error", "lane", "attempts"))
        return {"id": id_, **nothing, "state": FAILED, "recorded_at": "", "reason": _unreadable(error)}
    row = body_to_json(letter)
    row["key"] = _text(letter.key)
    for name in ("value", "headers", "stack"):
        del row[name]
    return {"id": id_, **row, "state": letter.state or FAILED}


def _unreadable(error: Undecodable) -> str:
    return f"the letter itself cannot be read: {error.reason}"


def _decoded(letter: DeadLettered, codec: AvroCodec) -> Row | None:
    try:
        return to_json(decode_record(list(letter.headers.items()), letter.value, codec))
    except Undecodable:
        return None


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode(errors="backslashreplace")


def _send(bootstrap: str, records: list[Sent]) -> None:
    refused: list[str] = []
    settings: dict[str, Any] = {
        "bootstrap.servers": bootstrap,
        "partitioner": "murmur2_random",
        "enable.idempotence": True,
        "delivery.timeout.ms": round(SENT_WITHIN_S * 1_000),
        "log_level": 0,
    }
    producer = Producer(settings)

    def delivered(error: KafkaError | None, _: object) -> None:
        if error is not None:
            refused.append(error.str())

    for topic, partition, key, value, headers in records:
        producer.produce(topic, value, key, partition, headers=headers, on_delivery=delivered)
    if producer.flush(SENT_WITHIN_S + 1) or refused:
        raise Unreachable(f"Kafka at {bootstrap} did not take it: {refused[0] if refused else 'no answer in time'}")
