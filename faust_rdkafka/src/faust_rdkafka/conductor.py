"""Hands the records of a batch to the channels of Faust's agents."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from confluent_kafka import Message
from faust.events import Event
from faust.exceptions import DecodeError
from faust.transport.conductor import Conductor as FaustConductor
from faust.types import TP

from .attempt import Attempt
from .records import BatchSchema

Refused = Callable[[Message, Exception], None]


class Conductor(FaustConductor):
    """Faust's registry of channels, with delivery of our own: nothing is awaited, so a batch is in the queues at once."""

    # Reply topics of `ask` appear while running; Faust's 45 s would outlast the question.
    _resubscribe_sleep_lock_seconds = 1.0

    def decoders(self) -> dict[TP, BatchSchema]:
        """Whose records can be decoded before they are delivered: those that every batch channel decodes alike."""
        found = {}
        for tp, channels in list(self._tp_index.items()):
            schemas = _batch_schemas(channels)
            if schemas and _are_alike(schemas):
                found[tp] = schemas[0]
        return found

    def deliver(
        self, tp: TP, messages: list[Message], ahead: list[Any] | None, attempt: Attempt, refused: Refused
    ) -> None:
        """Queue one partition's messages to every channel that wants them. `ahead`: their values, decoded before."""
        channels = self._tp_index.get(tp, ())
        # Another channel may have come since, with a decoder of its own.
        if ahead is not None and len(channels) > 1 and not _are_alike(_batch_schemas(channels)):
            ahead = None
        by_record = []
        for channel in channels:
            schema = channel.schema
            if isinstance(schema, BatchSchema):
                batch = schema.make(messages, refused, ahead)
                if batch is not None:
                    delivery = attempt.delivery(tp, messages[-1])
                    channel.queue.put_nowait(Event(self.app, None, batch, None, delivery))
            else:
                by_record.append(channel)
        if by_record:
            for message in messages:
                self._deliver_record(tp, message, by_record, attempt, refused)

    def _deliver_record(
        self, tp: TP, message: Message, channels: list[Any], attempt: Attempt, refused: Refused
    ) -> None:
        app = self.app
        events: list[tuple[Any, Event]] = []
        for channel in channels:
            schema = channel.schema
            delivery = attempt.delivery(tp, message)
            try:
                key = schema.loads_key(app, delivery, loads=None) if delivery.key is not None else None
                value = schema.loads_value(app, delivery, loads=None)
            except DecodeError as error:
                for one in [delivery, *(event.message for _, event in events)]:
                    one.acked = True
                refused(message, error)
                return
            events.append((channel, Event(app, key, value, dict(delivery.headers), delivery)))
        for channel, event in events:
            channel.queue.put_nowait(event)


def _batch_schemas(channels: Iterable[Any]) -> list[BatchSchema]:
    return [channel.schema for channel in channels if isinstance(channel.schema, BatchSchema)]


def _are_alike(schemas: list[BatchSchema]) -> bool:
    first = schemas[0]
    return all(schema.decode == first.decode and schema.decodes_headers == first.decodes_headers for schema in schemas)
