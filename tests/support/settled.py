"""Whether a reader of committed records reads a topic to its end: it stops before the first transaction that is open.

Kafka answers a commit before it has written the markers to the partitions (the coordinator's log has the decision), so
whoever reads at once may miss what was committed just before. A transaction that somebody killed left open is one too.
"""

from __future__ import annotations

import threading
import time

from confluent_kafka import IsolationLevel, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

_ANSWER_WITHIN_S = 20
_SETTLED_WITHIN_S = 120.0


def is_settled(admin: AdminClient, *topics: str) -> bool:
    """All that is written in the topics is committed or aborted. False also of one made just now, without a leader yet."""
    if not topics:
        return True
    try:
        # Also reads anew who leads: after a broker's restart offsets are else asked in the former leader's epoch for ever.
        told = admin.describe_topics(TopicCollection(list(topics)), request_timeout=_ANSWER_WITHIN_S)
        places = [TopicPartition(name, part.id) for name, found in told.items() for part in found.result().partitions]
        # In this order: what comes between the two answers makes them differ.
        return _ends(admin, places, IsolationLevel.READ_COMMITTED) == _ends(
            admin, places, IsolationLevel.READ_UNCOMMITTED
        )
    except KafkaException:
        return False


def wait_until_settled(admin: AdminClient, *topics: str) -> None:
    """For those who write or read topics in the process of the test."""
    ends_at_s, pause = time.monotonic() + _SETTLED_WITHIN_S, threading.Event()
    while not is_settled(admin, *topics):
        assert time.monotonic() < ends_at_s, f"a transaction stays open in {topics}"
        pause.wait(0.01)


def _ends(admin: AdminClient, places: list[TopicPartition], isolation: IsolationLevel) -> list[int]:
    asked = dict.fromkeys(places, OffsetSpec.latest())
    answers = admin.list_offsets(asked, isolation_level=isolation, request_timeout=_ANSWER_WITHIN_S)
    return [answers[place].result(_ANSWER_WITHIN_S).offset for place in places]
