"""Writes unpublished rows into the open batch, so that they are kept exactly when the position that passes them is.

Why a compacted topic and not a table: the batch is a Kafka transaction. Whatever stood in the database would be written
before or after it, and a kill between the two would lose a waiting row or publish it twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from connectors.outbox.config import OutboxConfig
from connectors.outbox.metrics import Metrics
from connectors.outbox.pgoutput import Values
from connectors.outbox.publisher import Publisher
from connectors.outbox.republishing.asked import Republish
from connectors.outbox.routing import Record, Route
from connectors.outbox.waiting.aggregates import Blocked
from connectors.outbox.waiting.entries import Aggregate, Content, Entry, Place, Request, State, encode

# Names the aggregate's type where the table has it, whatever column names the topic.
KIND_FIELD = "aggregatetype"
# Room for a key and a batch's header beside a value of the largest size.
_OVERHEAD_BYTES = 1_024


@dataclass(slots=True)
class Waiting:
    """What outlives a stream: blocked aggregates, requests not yet answered, the offset up to which requests are read."""

    blocked: Blocked = field(default_factory=Blocked)
    requests: dict[bytes, Request] = field(default_factory=dict)
    republish: dict[bytes, Republish] = field(default_factory=dict)
    end: int = 0


def waiting_topic_settings(config: OutboxConfig) -> dict[str, str]:
    """The topic must take every row that another topic refuses for its size."""
    return {"cleanup.policy": "compact", "max.message.bytes": str(config.record_bytes_max + 2 * _OVERHEAD_BYTES)}


class Keeper:
    """The only writer of waiting rows. Each change belongs to the open batch: `commit` or `rollback` follows."""

    def __init__(self, config: OutboxConfig, publisher: Publisher, metrics: Metrics, waiting: Waiting) -> None:
        self._config, self._publisher, self._metrics, self.waiting = config, publisher, metrics, waiting
        self.blocked = waiting.blocked
        self.rollback()

    def aggregate(self, route: Route, values: Values) -> Aggregate:
        """Whose row it is."""
        rules = self._config.routing
        key = route.text(values, rules.key_field)
        if key is None:
            return Aggregate(None, route.row_id(values))
        kind = route.text(values, KIND_FIELD if route.has(KIND_FIELD) else rules.route_by_field)
        return Aggregate(kind or "", key)

    def wait(self, aggregate: Aggregate, route: Route, values: Values, place: Place) -> None:
        """The row stays behind the failed one of its aggregate. Raises WaitingFull, and what `Publisher.put` does."""
        reason = f"waits behind row {self.blocked.of(aggregate)[0].row_id}"
        entry = Entry(place, aggregate, route.row_id(values), State.WAITING, reason)
        self._put(entry, Content(route.columns, values))

    def fail(self, route: Route, values: Values, place: Place, reason: str, letter: bytes | None) -> None:
        """The row was refused: from here on its aggregate waits. Raises as `wait`."""
        entry = Entry(place, self.aggregate(route, values), route.row_id(values), State.FAILED, reason, letter)
        self._metrics.dead_letters_total += 1
        self._put(entry, Content(route.columns, values))

    def replace(self, entry: Entry, content: Content | None) -> None:
        """The same row with another reason."""
        self._put(entry, content)

    def mended(self, entry: Entry) -> None:
        """The row is published in this batch: its entry and its dead letter go."""
        self.blocked.remove(entry)
        self._metrics.mended_total += 1
        self._publisher.put(Record(self._config.waiting_topic, entry.key, None, []))
        if entry.letter is not None:
            self._publisher.put(Record(self._config.dead_letter_topic, entry.letter, None, []))

    def forget(self) -> None:
        """Everything is published anew: nothing waits any more."""
        for entry in list(self.blocked):
            self.mended(entry)

    def answered(self, request: bytes) -> None:
        """The request was done, as far as that was possible."""
        self._publisher.put(Record(self._config.waiting_topic, request, None, []))

    def commit(self) -> None:
        """The batch is stored."""
        self.blocked.commit()
        self._metrics.waiting_full = False
        self._count()

    def rollback(self) -> None:
        """The batch was aborted."""
        self.blocked.rollback()
        self._count()

    def _put(self, entry: Entry, content: Content | None) -> None:
        self.blocked.put(entry)
        value = encode(entry, content)
        if len(value) + _OVERHEAD_BYTES > self._config.record_bytes_max:
            value = encode(entry, None)
        self._publisher.put(Record(self._config.waiting_topic, entry.key, value, []))

    def _count(self) -> None:
        failed = self.blocked.failed()
        self._metrics.failed_rows, self._metrics.waiting_rows = failed, len(self.blocked) - failed
