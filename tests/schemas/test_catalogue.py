"""The catalogue: the lock file holds every schema file, unchanged, and every class has one."""

from __future__ import annotations

from dataclasses import fields

from schemas.catalogue import FIRST_ID, load, missing, unpublished
from schemas.messages import MESSAGES, class_of, wire_type
from schemas.topics import EVENT_TOPICS, FOR_EVER_MS, PARTITIONS, TOPICS


def test_every_schema_file_is_published_and_every_message_has_one() -> None:
    assert unpublished() == []
    assert missing() == []


def test_ids_are_unique_and_high() -> None:
    ids = [entry.id for entry in load()]
    assert len(set(ids)) == len(ids)
    assert min(ids) > FIRST_ID


def test_the_newest_schema_has_the_fields_of_its_class() -> None:
    newest = {entry.class_name: entry.schema for entry in load()}
    for cls in MESSAGES.values():
        assert [field["name"] for field in newest[cls.__name__]["fields"]] == [field.name for field in fields(cls)], cls


def test_every_field_is_documented() -> None:
    for entry in load():
        assert all(field.get("doc") for field in entry.schema["fields"]), entry.subject


def test_wire_types_are_capitals_and_lead_back_to_the_class() -> None:
    assert "STOCK_RESERVED" in MESSAGES
    for cls in MESSAGES.values():
        assert class_of(wire_type(cls)) is cls
    assert class_of("ORDER_EATEN") is None


def test_event_topics_keep_everything() -> None:
    for name in EVENT_TOPICS:
        assert TOPICS[name].retention_ms == FOR_EVER_MS
        assert TOPICS[name].cleanup == "delete"


def test_all_inputs_of_the_workers_have_one_partition_count() -> None:
    counts = {topic.partitions for topic in TOPICS.values() if not topic.name.startswith("connect-")}
    assert counts == {PARTITIONS}
