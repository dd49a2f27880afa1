"""A replay into a topic: which topics may be written to, and the writing of it in the journal's transaction."""

from __future__ import annotations

import time

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from schemas.envelope import Message
from schemas.topics import AUDIT_TRAIL, REPLAYS, SAGAS_DEADLINES, SAGAS_REPLIES, TOPICS, Topic
from tally.reading.reader import REQUEST_TIMEOUT_S, Partition, Reader, Record, UnknownTopic, Unreachable
from tally.replaying.asked import Range
from tally.replaying.errors import WrongReplay
from tally.replaying.journal import Journal, Outgoing

# A message that acts on the live system when it comes to one of these: written only where the topic is named once more.
ACTING = (*(name for name in TOPICS if name.endswith(".commands")), SAGAS_REPLIES, SAGAS_DEADLINES)
# Who reads a copy can tell where a record came from, and through which replay.
ID_HEADER, ORIGIN_HEADER = "replayid", "replayedfrom"
# Kafka's own rule for names.
_NAME_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_NAME_CHARS_MAX = 249
_LOOK_AGAIN_S = 0.05


class TopicTarget:
    """Writes records as they are, key, value, headers and timestamp, into another topic, with two headers more."""

    def __init__(self, topic: str, id_: str, journal: Journal) -> None:
        self._topic, self._id, self._journal = topic, id_.encode(), journal

    def claim(self, is_new: bool) -> None:
        """The journal fences others."""

    def open(self, length: int) -> int:
        """The position is in the row alone."""
        return 0

    def put(self, record: Record, message: Message) -> None:
        """See `Target.put`."""
        origin = f"{record.topic}/{record.partition}/{record.offset}"
        headers = [*record.headers, (ID_HEADER, self._id), (ORIGIN_HEADER, origin.encode())]
        timestamp_ms = max(record.timestamp_ms, 0)
        self._journal.put(Outgoing(self._topic, record.key, record.value, headers, timestamp_ms, origin))

    def settle(self) -> int:
        """The journal's commit makes all durable."""
        return 0

    def close(self, is_unused: bool = False) -> None:
        """Nothing to let go."""


def check_topic(name: str, sources: set[str], types: tuple[str, ...], side_effects: tuple[str, ...]) -> None:
    """Raises WrongReplay for a topic that no replay writes to, or not without its side effects being named."""
    if not _NAME_CHARS.issuperset(name) or len(name) > _NAME_CHARS_MAX or name in (".", ".."):
        raise WrongReplay(f"--into topic:{name}: no name that Kafka takes")
    if name in sources:
        raise WrongReplay(f"--into topic:{name}: it is replayed itself")
    known = TOPICS.get(name)
    if known is not None and known.holds_events:
        raise WrongReplay(f"--into topic:{name}: it holds events, which only its service publishes; name another topic")
    if name.startswith(("__", "connect-")) or (known is not None and name not in ACTING):
        raise WrongReplay(f"--into topic:{name}: written by the system alone; name another topic")
    for effect in side_effects:
        if effect != name:
            raise WrongReplay(f"--side-effects {effect}: this replay does not go there, but into {name}")
    if known is not None:
        _check_acting(known, types, side_effects)


def _check_acting(topic: Topic, types: tuple[str, ...], side_effects: tuple[str, ...]) -> None:
    if not side_effects:
        raise WrongReplay(
            f"--into topic:{topic.name}: the live system acts on what comes there; "
            f"if that is meant, say --side-effects {topic.name}"
        )
    allowed = [name.strip() for name in topic.messages.split(",")]
    if not types or not set(types) <= set(allowed):
        raise WrongReplay(f"--into topic:{topic.name}: say --type, of {', '.join(allowed)}: it takes nothing else")


def find_topic(admin: AdminClient, name: str) -> int | None:
    """How many partitions a topic has; None where there is no such topic."""
    found = admin.list_topics(timeout=REQUEST_TIMEOUT_S).topics.get(name)
    return None if found is None or found.error is not None else len(found.partitions)


def check_keeps(admin: AdminClient, name: str, oldest_ms: int | None) -> None:
    """Raises WrongReplay when a topic would drop what is written to it: records keep their times."""
    resource = ConfigResource(ResourceType.TOPIC, name)
    asked = admin.describe_configs([resource], request_timeout=REQUEST_TIMEOUT_S)
    settings = {key: entry.value for key, entry in asked[resource].result().items()}
    kept_ms = int(settings["retention.ms"])
    drops = "delete" in settings["cleanup.policy"] and settings["message.timestamp.type"] == "CreateTime"
    if drops and oldest_ms is not None and 0 <= kept_ms < time.time() * 1_000 - oldest_ms:
        days = kept_ms / 86_400_000
        raise WrongReplay(
            f"--into topic:{name}: it keeps {days:g} days and would drop older records at once; "
            "set its retention.ms to -1, or name a topic that is not there yet"
        )


def oldest_timestamp_ms(reader: Reader, ranges: tuple[Range, ...]) -> int | None:
    """The time of the first record of all ranges; None where they hold none."""
    times = []
    for each in ranges:
        places: tuple[dict[Partition, int], dict[Partition, int]] = ({each.place: each.start}, {each.place: each.end})
        first = next((record for record in reader.read(*places) if record is not None), None)
        if first is not None:
            times.append(first.timestamp_ms)
    return min(times, default=None)


def make_topic(admin: AdminClient, name: str, partitions: int) -> None:
    """A topic that keeps everything, with the source's partition count: keys lie in the same partitions."""
    config = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
    _make(admin, NewTopic(name, partitions, -1, config=config))


def make_own_topics(admin: AdminClient) -> None:
    """Those of the rows and of the audit trail, where a system was set up before there were any, or is not ours."""
    for topic in (TOPICS[REPLAYS], TOPICS[AUDIT_TRAIL]):
        if find_topic(admin, topic.name) is None:
            _make(admin, NewTopic(topic.name, topic.partitions, -1, config=topic.config))


def topic_ids(admin: AdminClient, names: set[str]) -> dict[str, str]:
    """Kafka's own ids of topics that are there, by name. Raises UnknownTopic, Unreachable."""
    found = {}
    asked = admin.describe_topics(TopicCollection(sorted(names)), request_timeout=REQUEST_TIMEOUT_S)
    for name, future in asked.items():
        try:
            found[name] = str(future.result().topic_id)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise UnknownTopic(f"there is no topic {name}") from None
            raise Unreachable(f"Kafka does not tell of topic {name}: {error.args[0].str()}") from None
    return found


def _make(admin: AdminClient, topic: NewTopic) -> None:
    try:
        admin.create_topics([topic], operation_timeout=REQUEST_TIMEOUT_S)[topic.topic].result()
    except KafkaException as error:
        # Somebody else made it in this moment.
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise
    # The brokers tell of it a moment after the controller has made it.
    until = time.monotonic() + REQUEST_TIMEOUT_S
    while find_topic(admin, topic.topic) is None:
        if time.monotonic() > until:
            raise Unreachable(f"topic {topic.topic} was made and is not told of in {REQUEST_TIMEOUT_S:.0f} s")
        time.sleep(_LOOK_AGAIN_S)
