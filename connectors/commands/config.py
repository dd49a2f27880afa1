"""Options and bounds of the command sink."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from connectors.consuming import SESSION_TIMEOUT_MS, Bounds, Group
from schemas.topics import DEAD_LETTERS_COMMANDS


@dataclass(frozen=True, slots=True)
class ParkedBounds:
    """How parked commands are tried again.

    At `rows_max` parked rows the sink stops reading until there are fewer: what a busy database owes stays in Kafka.
    """

    rows_max: int = 10_000
    every_s: float = 0.2
    retry_first_s: float = 0.2
    retry_longest_s: float = 5.0
    keys_a_pass_max: int = 50
    commands_a_key_max: int = 100


@dataclass(frozen=True, slots=True)
class SinkConfig:
    """One sink: the commands of `topic` into the database of `service`; `acts_topic` brings acts on its dead letters.

    `lock_timeout_ms` is how long a command waits for a row before its key is parked; beyond `waits_a_batch_max`
    busy keys no other key of that batch waits at all, so that a batch stays short.
    """

    service: str
    topic: str
    bootstrap: str
    database_url: str
    acts_topic: str = DEAD_LETTERS_COMMANDS
    group: str = ""
    instance: str = "0"
    bounds: Bounds = field(default_factory=Bounds)
    parked: ParkedBounds = field(default_factory=ParkedBounds)
    lock_timeout_ms: int = 200
    waits_a_batch_max: int = 10
    session_timeout_ms: int = SESSION_TIMEOUT_MS
    kafka: Mapping[str, str | int | float | bool] = field(default_factory=dict)

    @property
    def consumer_group(self) -> Group:
        """The group and our place in it."""
        name = self.group or f"tally-sink-{self.service}"
        instance = f"{name}-{self.instance}"
        return Group(self.bootstrap, name, instance, (self.topic, self.acts_topic), self.session_timeout_ms, self.kafka)
