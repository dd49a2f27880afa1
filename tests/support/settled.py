"""Whether a reader of committed records reads a topic to its end: it stops before the first transaction that is open.

Kafka answers a commit before it has written the markers to the partitions (the coordinator's log has the decision), so
whoever reads at once may miss what was committed just before. A transaction that somebody killed left open is one too.
"""

from __future__ import annotations

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

_ANSWER_WITHIN_S = 20


def is_settled(admin: AdminClient, *topics: str) -> bool:
    """All that is written in the topics is committed or aborted. False also of one made just now, without a leader yet."""
    known = admin.list_topics(timeout=_ANSWER_WITHIN_S).topics
    places = [TopicPartition(name, part) for name in topics for part in known[name].partitions]

    def ends(isolation: IsolationLevel) -> list[int]:
        asked = dict.fromkeys(places, OffsetSpec.latest())
        answers = admin.list_offsets(asked, isolation_level=isolation, request_timeout=_ANSWER_WITHIN_S)
        return [answers[place].result(_ANSWER_WITHIN_S).offset for place in places]

    try:
        # In this order: what comes between the two answers makes them differ.
        return not places or ends(IsolationLevel.READ_COMMITTED) == ends(IsolationLevel.READ_UNCOMMITTED)
    except KafkaException:
        return False
