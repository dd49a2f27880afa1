"""What `topics create` finds wrong with topics that are there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from schemas.topics import TOPICS
from tally.cli.topics import faults

KEPT = {"retention.ms": "-1", "retention.bytes": "-1", "cleanup.policy": "delete"}


def there(partitions: int) -> Any:
    return SimpleNamespace(partitions=dict.fromkeys(range(partitions)))


@pytest.mark.parametrize(
    ("name", "partitions", "settings", "says"),
    [
        ("orders.events", 4, {**KEPT, "retention.ms": "604800000"}, "kept for ever"),
        ("orders.events", 4, {**KEPT, "retention.bytes": "1000"}, "kept for ever"),
        ("orders.events", 4, {**KEPT, "cleanup.policy": "compact"}, "lost"),
        ("orders.events", 6, KEPT, "6 partitions, not 4"),
        ("tally-orders-changelog", 4, KEPT, "not compact"),
    ],
)
def test_a_topic_that_would_break_a_promise_is_named(
    name: str, partitions: int, settings: dict[str, str], says: str
) -> None:
    (found,) = faults([TOPICS[name]], {name: there(partitions)}, {name: settings})
    assert says in found
    assert found.startswith(name)


def test_topics_as_they_must_be_are_not_named() -> None:
    topics = [TOPICS["orders.events"], TOPICS["orders.commands"]]
    settings = {"orders.events": KEPT, "orders.commands": {**KEPT, "retention.ms": "1"}}
    assert faults(topics, {topic.name: there(4) for topic in topics}, settings) == []
