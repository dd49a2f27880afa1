"""What a read_committed consumer can see of a topic: its end, asked for while nobody reads, and the records themselves."""

from __future__ import annotations

import time
from collections.abc import Iterator

from confluent_kafka import Consumer, IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

LOOK_S = 0.01
STALLS_AFTER_S = 60.0
_TAKE_RECORDS = 1_000


class Visible:
    """The topic from where it was last read."""

    def __init__(self, bootstrap: str, admin: AdminClient, topic: str, partitions: int) -> None:
        self._admin = admin
        settings = {"bootstrap.servers": bootstrap, "group.id": topic, "enable.auto.commit": "false", "log_level": "2"}
        self._consumer = Consumer(settings | {"isolation.level": "read_committed"})
        self._places = [TopicPartition(topic, number, 0) for number in range(partitions)]

    def until(self, rows: int) -> float:
        """Unix seconds at which the last of so many rows became visible; no reader competes with the carrier meanwhile.

        The end of the topic is noted until it stands still, then the rows are read to prove that they are all there: the
        end that they have then was first seen at that moment. It counts markers of transactions too.
        """
        wanted = self._start() + rows
        first_seen: dict[int, float] = {}
        deadline = time.monotonic() + STALLS_AFTER_S
        while True:
            end = self._end()
            if end not in first_seen:
                first_seen[end], deadline = time.time(), time.monotonic() + STALLS_AFTER_S
            elif end >= wanted and time.time() - first_seen[end] > 1.0:
                break
            if time.monotonic() > deadline:
                raise SystemExit(f"{end - wanted + rows} of {rows} rows, and then nothing for {STALLS_AFTER_S:.0f} s")
            time.sleep(LOOK_S)
        for _ in self.read(rows):
            pass
        end = self._end()
        return first_seen.get(end, time.time())

    def read(self, rows: int) -> Iterator[tuple[float, bytes]]:
        """So many records as they come: Unix seconds at which each came, and its value."""
        self._consumer.assign(self._places)
        seen = 0
        while seen < rows:
            # One first, then what is there beside it: a consumer that waits for a thousand adds its own wait.
            records = self._consumer.consume(1, 30)
            if not records:
                raise SystemExit(f"{seen} of {rows} rows after 30 s")
            records += self._consumer.consume(min(_TAKE_RECORDS, rows - seen - 1), 0) if rows - seen > 1 else []
            now = time.time()
            for record in records:
                yield now, record.value() or b""
            seen += len(records)
        # Of a partition that gave nothing no position is known.
        after = zip(self._places, self._consumer.position(self._places), strict=True)
        self._places = [now if now.offset >= 0 else before for before, now in after]
        self._consumer.unassign()

    def close(self) -> None:
        self._consumer.close()

    def _start(self) -> int:
        return sum(place.offset for place in self._places)

    def _end(self) -> int:
        asked = {TopicPartition(place.topic, place.partition): OffsetSpec.latest() for place in self._places}
        found = self._admin.list_offsets(asked, isolation_level=IsolationLevel.READ_COMMITTED)
        return sum(future.result(20).offset for future in found.values())
