"""Sends one row: routed, checked against what its topic takes, and set aside as a dead letter if Kafka can never take it.

The later rows of a set-aside row's aggregate are kept behind it (`waiting/`), the rows of others are sent as always.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import structlog
from confluent_kafka import KafkaError

from connectors.outbox.config import OutboxConfig
from connectors.outbox.errors import Refused, UnsendableRow
from connectors.outbox.pgoutput import Values
from connectors.outbox.plans import Parts
from connectors.outbox.publisher import ROW_ERRORS, Publisher
from connectors.outbox.refused import Refusal
from connectors.outbox.routing import Record, Route, Unroutable, record_bytes
from connectors.outbox.rows import ReadRow, row_reader
from connectors.outbox.topics import Topics
from connectors.outbox.waiting.entries import Place
from connectors.outbox.waiting.keeper import Keeper

_log = structlog.get_logger()


class Table(NamedTuple):
    """An outbox table of the stream: its rules, and what makes a record or values of a row's frame."""

    route: Route
    parts: Callable[[bytes], Parts]
    values: ReadRow

    @classmethod
    def of(cls, route: Route) -> Table:
        """For a relation that the route was made for."""
        return cls(route, route.parts_of_frame(), row_reader(len(route.columns)))


class Suspicion:
    """What is known of rows that Kafka refused though the checks let them pass; outlives the batch that failed.

    After such a batch was aborted, the next try watches each record's delivery; the rows found out become dead letters in
    the try after that. A batch that goes through ends the suspicion.
    """

    def __init__(self) -> None:
        self.reason_by_place: dict[Place, str] = {}
        self.is_watching = False

    def clear(self) -> None:
        self.reason_by_place.clear()
        self.is_watching = False


class Sender:
    """Sends rows through one producer. Raises what `Publisher.put` does, and UnsendableRow."""

    def __init__(
        self, config: OutboxConfig, keeper: Keeper, publisher: Publisher, topics: Topics, suspicion: Suspicion
    ) -> None:
        self._config, self._keeper, self._publisher = config, keeper, publisher
        self._suspicion, self._blocked = suspicion, keeper.blocked
        self._topics = topics
        self._check, self._put = topics.check, publisher.put

    def send_frame(self, table: Table, frame: bytes, place: Place) -> None:
        """As `send`, for a row as the stream has it. The hot path: the values are taken out only if they are needed."""
        route, parts, values = table
        if self._blocked or self._suspicion.is_watching:
            self.send(route, values(frame), len(frame), place)
            return
        try:
            record = parts(frame)
            self._check(record, route.fixed_bytes + route.copies * len(frame))
            self._put(record)
        except Unroutable as refused:
            self.set_aside(route, values(frame), place, refused.reason)

    def send(self, route: Route, values: Values, frame_bytes: int, place: Place) -> None:
        """Hands the row's record to Kafka, or its dead letter; part of the batch that is open."""
        if self._blocked and (aggregate := self._keeper.aggregate(route, values)) in self._blocked:
            self._keeper.wait(aggregate, route, values, place)
            return
        try:
            record = route.parts(values)
            self._check(record, route.fixed_bytes + route.copies * frame_bytes)
            if self._suspicion.is_watching:
                self._watched(record, place)
            else:
                self._put(record)
        except Unroutable as refused:
            self.set_aside(route, values, place, refused.reason)

    def put(self, route: Route, values: Values, place: Place) -> None:
        """Hands over a row that is tried again. Raises Unroutable."""
        record = route.parts(values)
        self._check(record, record_bytes(record))
        self._watched(record, place) if self._suspicion.is_watching else self._put(record)

    def look_anew(self) -> None:
        """Forgets what is known of topics and their limits."""
        self._topics.forget()

    def settle(self) -> None:
        """Before a commit: while watching, waits for every delivery, so that what is refused is known. Raises Aborted."""
        if self._suspicion.is_watching:
            self._publisher.flush()
            if found := len(self._suspicion.reason_by_place):
                _log.warning("kafka refused rows", rows=found)

    def trust(self) -> None:
        """After a commit: whatever was refused is dealt with."""
        self._keeper.commit()
        if self._suspicion.is_watching:
            self._suspicion.clear()

    def _watched(self, record: Parts, place: Place) -> None:
        known = self._suspicion.reason_by_place
        if place in known:
            raise Unroutable(known[place])

        def delivered(error: KafkaError | None, _: object) -> None:
            if error is not None and error.code() in ROW_ERRORS:
                known[place] = error.str()

        self._put(record, delivered)

    def set_aside(self, route: Route, values: Values, place: Place, reason: str) -> None:
        """Makes the row's dead letter and blocks its aggregate. Raises UnsendableRow where there are no letters."""
        row_id, write = route.row_id(values), self._config.dead_letter
        if write is None:
            raise UnsendableRow(row_id, reason)
        found = route.salvage(values)
        refusal = Refusal(row_id, found.topic or None, found.key, found.value, found.headers, reason, self._config.name)
        letter = write(refusal)
        record = Record(self._config.dead_letter_topic, letter.key, letter.value, letter.headers)
        try:
            self._check(record, record_bytes(record))
            self._put(record, self._letter_delivered(row_id))
        except Unroutable as refused:
            raise UnsendableRow(row_id, f"{reason}; nor can its dead letter: {refused.reason}") from None
        self._keeper.fail(route, values, place, reason, letter.key)
        _log.warning(
            "row set aside", row=row_id, topic=found.topic, reason=reason, dead_letters=self._config.dead_letter_topic
        )

    def _letter_delivered(self, row_id: str) -> Callable[[KafkaError | None, object], None]:
        def delivered(error: KafkaError | None, _: object) -> None:
            if error is not None and error.code() in ROW_ERRORS:
                raise Refused(f"the dead letter of row {row_id} was refused: {error.str()}")

        return delivered
