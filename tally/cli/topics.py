"""The verbs topics list, describe and create."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from schemas.topics import TOPICS, Topic
from tally.cli.failures import CheckFailed, NotFound, WrongUsage, group
from tally.cli.kafka import Bootstrap, administering, reading
from tally.cli.printing import Format, print_rows
from tally.reading.reader import REQUEST_TIMEOUT_S

app = group("Topics: which there are, what they hold, and making them.")

CREATE_TIMEOUT_S = 30.0
_COLUMNS = ("topic", "key", "messages", "partitions", "retention", "cleanup", "there")
_FOR_EVER = "for ever"


@app.command("list")
def list_(bootstrap: Bootstrap = None, form: Format = None) -> None:
    """Every topic that Tally uses, with key, messages, partitions and retention, and whether it is there."""
    with administering(bootstrap) as admin:
        there = {name: len(found.partitions) for name, found in _listed(admin).items()}
    rows = [_row(topic, there.get(topic.name)) for topic in TOPICS.values()]
    strangers = [name for name in sorted(there) if name not in TOPICS and not name.startswith("__")]
    rows += [{"topic": name, "messages": "not ours", "partitions": there[name], "there": True} for name in strangers]
    print_rows(rows, _COLUMNS, form)


@app.command()
def describe(
    topic: Annotated[str, typer.Argument(help="Its name.")], bootstrap: Bootstrap = None, form: Format = None
) -> None:
    """One topic's partitions: first offset, end, and how many offsets lie between."""
    with reading(bootstrap) as reader:
        rows = []
        for number in reader.partitions(topic):
            low, high = reader.bounds((topic, number))
            rows.append({"topic": topic, "partition": number, "first": low, "end": high, "offsets": high - low})
    print_rows(rows, ("topic", "partition", "first", "end", "offsets"), form)


@app.command()
def create(
    names: Annotated[list[str] | None, typer.Argument(help="Which; all of Tally's by default.")] = None,
    partitions: Annotated[int | None, typer.Option(min=1, help="For a topic that is not ours.")] = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Make topics that lack, and check those that are there: partition counts, and events kept for ever."""
    if names and partitions is not None and any(name in TOPICS for name in names):
        raise WrongUsage("the partition count of Tally's own topics is fixed: keys would move")
    wanted = list(TOPICS.values()) if not names else [_wanted(name, partitions) for name in names]
    with administering(bootstrap) as admin:
        there = _listed(admin)
        made = _create(admin, [topic for topic in wanted if topic.name not in there])
        ours = [topic for topic in wanted if topic.name in there and topic.name in TOPICS]
        findings = list(faults(ours, there, _retentions(admin, ours)))
    typer.echo(f"{made} topics made, {len(wanted) - made} were there", err=True)
    if findings:
        raise CheckFailed("\n".join(findings))


def _row(topic: Topic, partitions_there: int | None) -> dict[str, Any]:
    retention = _FOR_EVER if topic.retention_ms < 0 else f"{topic.retention_ms // 86_400_000} days"
    return {
        "topic": topic.name,
        "key": topic.key,
        "messages": topic.messages,
        "partitions": topic.partitions,
        "retention": "by key" if topic.cleanup == "compact" else retention,
        "cleanup": topic.cleanup,
        "there": partitions_there is not None,
    }


def _wanted(name: str, partitions: int | None) -> Topic:
    if name in TOPICS:
        return TOPICS[name]
    if partitions is None:
        raise NotFound(f"{name} is none of Tally's topics; to make it all the same, say --partitions")
    return Topic(name, "", "", partitions)


def _listed(admin: AdminClient) -> dict[str, Any]:
    found: dict[str, Any] = admin.list_topics(timeout=REQUEST_TIMEOUT_S).topics
    return found


def _create(admin: AdminClient, topics: list[Topic]) -> int:
    fresh = [
        NewTopic(
            topic.name,
            num_partitions=topic.partitions,
            # The cluster's own default: 1 on one broker, what its owner decided elsewhere.
            replication_factor=-1,
            config=topic.config,
        )
        for topic in topics
    ]
    made = 0
    for future in admin.create_topics(fresh, operation_timeout=CREATE_TIMEOUT_S).values() if fresh else ():
        try:
            future.result()
            made += 1
        except KafkaException as error:
            # Somebody else made it in this moment.
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    return made


def _retentions(admin: AdminClient, topics: list[Topic]) -> dict[str, dict[str, str]]:
    """The settings that keep or drop records, of topics that are there."""
    if not topics:
        return {}
    asked = [ConfigResource(ResourceType.TOPIC, topic.name) for topic in topics]
    found = {}
    for resource, future in admin.describe_configs(asked, request_timeout=REQUEST_TIMEOUT_S).items():
        settings = future.result()
        found[resource.name] = {
            name: settings[name].value for name in ("retention.ms", "retention.bytes", "cleanup.policy")
        }
    return found


def faults_there(admin: AdminClient, topics: list[Topic]) -> list[str]:
    """`faults` of those of the topics that are there."""
    there = _listed(admin)
    ours = [topic for topic in topics if topic.name in there]
    return list(faults(ours, there, _retentions(admin, ours)))


def faults(topics: list[Topic], there: dict[str, Any], settings: dict[str, dict[str, str]]) -> list[str]:
    """What of topics that are there would break a promise, a line each."""
    findings = []
    for topic in topics:
        count, found = len(there[topic.name].partitions), settings[topic.name]
        if count != topic.partitions:
            findings.append(f"{topic.name} has {count} partitions, not {topic.partitions}: keys would not be found")
        if topic.holds_events:
            finite = [name for name in ("retention.ms", "retention.bytes") if found[name] != "-1"]
            findings += [f"{topic.name} has {name}={found[name]}: events are kept for ever" for name in finite]
            if found["cleanup.policy"] != "delete":
                findings.append(f"{topic.name} has cleanup.policy={found['cleanup.policy']}: events would be lost")
        elif topic.cleanup == "compact" and "compact" not in found["cleanup.policy"]:
            findings.append(f"{topic.name} has cleanup.policy={found['cleanup.policy']}, not compact")
    return findings
