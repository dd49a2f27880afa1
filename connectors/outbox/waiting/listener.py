"""Hears what people ask of the running connector: requests come as records of its own topic.

The topic is read only while something is to be heard: rows wait, a request is being worked, or its end has moved.
"""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from confluent_kafka import KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from connectors.outbox.config import OutboxConfig
from connectors.outbox.positions import StoredPosition
from connectors.outbox.waiting.keeper import Waiting
from connectors.outbox.waiting.topic import Tail

_LOOK_EVERY_S = 0.25
_ASK_END_EVERY_S = 1.0
# After the end has moved: the connector's own records move it too, so it is soon given up again.
_STAYS_FOR_S = 3.0
_ANSWER_WITHIN_S = 10.0


class Listener:
    """A duty that fills `waiting.requests` and `waiting.republish`; the first of the duties."""

    def __init__(self, config: OutboxConfig, admin: AdminClient, waiting: Waiting) -> None:
        self._config, self._admin, self._waiting = config, admin, waiting
        self._tail: Tail | None = None
        self._end_asked: Future[Any] | None = None
        self._known_end = -1
        self._looked_at = self._asked_at = self._stays_until = 0.0

    def serve(self, stored: StoredPosition) -> None:
        """Takes what has come; never waits."""
        if self._config.dead_letter is None:
            # Then there is no such topic.
            return
        now = time.monotonic()
        if self._end_has_moved(now):
            self._stays_until = now + _STAYS_FOR_S
        if not (self._waiting.blocked or self._waiting.requests or self._is_republishing() or now < self._stays_until):
            self.close()
        elif now - self._looked_at >= _LOOK_EVERY_S:
            self._looked_at = now
            self._take()

    def close(self) -> None:
        """Stops listening."""
        if self._tail is not None:
            self._tail.close()
            self._tail = None

    def _is_republishing(self) -> bool:
        return any(not request.progress.done for request in self._waiting.republish.values())

    def _end_has_moved(self, now: float) -> bool:
        if self._end_asked is None:
            if now - self._asked_at >= _ASK_END_EVERY_S:
                self._asked_at = now
                partition = TopicPartition(self._config.waiting_topic, 0)
                asked = {partition: OffsetSpec.latest()}
                self._end_asked = self._admin.list_offsets(asked, request_timeout=_ANSWER_WITHIN_S)[partition]
            return False
        if not self._end_asked.done():
            return False
        try:
            end = int(self._end_asked.result().offset)
        except KafkaException:
            # The carrier itself says that Kafka is away. A partition whose leader was elected anew is not asked again
            # of its own accord: the client remembers the old leader's epoch until it reads the metadata again.
            self._admin.describe_topics(TopicCollection([self._config.waiting_topic]))
            end = self._known_end
        self._end_asked = None
        has_moved, self._known_end = end > max(self._known_end, self._waiting.end), max(self._known_end, end)
        return has_moved

    def _take(self) -> None:
        if self._tail is None:
            self._tail = Tail(self._config, self._waiting.end)
        waiting, found = self._waiting, self._tail.read()
        waiting.requests.update(found.requests)
        waiting.end = self._tail.offset
        for key in found.gone:
            # Somebody has read how it ended.
            if key in waiting.republish and waiting.republish[key].progress.done:
                del waiting.republish[key]
        for key, request in found.republish.items():
            known = waiting.republish.get(key)
            if known is None and not request.progress.done:
                waiting.republish[key] = request
            elif known is not None and request.cancelled:
                waiting.republish[key] = replace(known, cancelled=True)
