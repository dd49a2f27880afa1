"""Which version of each table is served, as the topic of table versions tells: only that one is copied."""

from __future__ import annotations

import time

from confluent_kafka import KafkaError, KafkaException

from connectors.consuming import KafkaAway
from schemas.table_versions import Versions
from schemas.versions_topic import VersionsTopic

READ_WITHIN_S = 10.0
_NO_GROUP = "tally-copies-versions"


class ServedVersions:
    """Read from the beginning at the first look, and on from there; one thread uses it."""

    def __init__(self, bootstrap: str, topic: str, tables: tuple[str, ...]) -> None:
        self._bootstrap, self._topic, self._tables = bootstrap, topic, tables
        self._open: VersionsTopic | None = None
        self._known: dict[str, Versions] = {}

    def look(self) -> dict[str, int]:
        """By table, as of now. Raises KafkaAway."""
        try:
            if self._open is None:
                self._read_all()
            while self._open is not None and (found := self._open.poll(0)) is not None:
                self._known |= found
        except KafkaException as error:
            self.close()
            raise KafkaAway(f"table versions: {error}") from None
        return {table: self._known.get(table, Versions()).served for table in self._tables}

    def close(self) -> None:
        """Gives the connection back."""
        if self._open is not None:
            self._open.close()
        self._open = None

    def _read_all(self) -> None:
        topic = VersionsTopic(self._bootstrap, _NO_GROUP, self._tables, self._topic)
        ends_at_s = time.monotonic() + READ_WITHIN_S
        self._known |= topic.read_all(lambda: time.monotonic() < ends_at_s)
        if not topic.is_read:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        # Where there is no topic yet, the next look asks again.
        self._open = topic if topic.is_there else None
