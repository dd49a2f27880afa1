"""What the API shows straight out of topics; whoever starts it knows how they are read."""

from __future__ import annotations

from typing import Any, Protocol

Row = dict[str, Any]


class KafkaSilent(Exception):
    """Kafka did not tell in time."""


class Letters(Protocol):
    """Reads the dead letters that are there."""

    def read(self) -> list[Row]:
        """All of them: `{id, state, recorded_at, topic, partition, offset, key, reason, error, lane, attempts, …}`.

        Without value, headers and stack, which not everybody is to see. Blocks on Kafka. Raises KafkaSilent.
        """


class Timelines(Protocol):
    """Reads all messages of a saga, of every topic."""

    def read(self, saga: Row) -> list[Row]:
        """Those of a saga as its owner shows it, by time: `{timestamp, topic, partition, offset, type, attempt, data, …}`.

        `attempt` counts a command's sendings, None for other messages. Blocks on Kafka. Raises KafkaSilent.
        """
