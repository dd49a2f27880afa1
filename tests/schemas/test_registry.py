"""A registry: ids that the lock file does not hold are asked of it, and what it says no to is said by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from registry_server import FakeRegistry, serving

from schemas.catalogue import load
from schemas.codec import AvroCodec
from schemas.errors import Undecodable
from schemas.messages import OrderCancelled
from schemas.registry import Registered, Registry, RegistryRefused, RegistrySchemas, RegistryUnreachable

CANCELLED = next(entry for entry in load() if entry.class_name == "OrderCancelled")
NEWER_ID = 1_900_000


def newer() -> dict[str, Any]:
    """A later version of OrderCancelled, as a process that was deployed before us writes it."""
    note = {"name": "note", "type": ["null", "string"], "default": None, "doc": "New."}
    return {**CANCELLED.schema, "fields": [*CANCELLED.schema["fields"], note]}


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with serving() as running:
        yield running


@pytest.fixture
def client(registry: FakeRegistry) -> Iterator[Registry]:
    with Registry(registry.url) as opened:
        yield opened


def framed(schema_id: int, body: bytes) -> bytes:
    return b"\x00" + schema_id.to_bytes(4, "big") + body


def test_a_newer_version_of_a_message_is_read_as_the_class_that_we_have(
    registry: FakeRegistry, client: Registry
) -> None:
    registry.put(CANCELLED.subject, 2, NEWER_ID, newer())
    codec = AvroCodec(find=RegistrySchemas(client))
    for _ in range(3):
        assert codec.decode(framed(NEWER_ID, b"\x06why\x02\x04no")) == OrderCancelled("why")
    assert registry.asked == [("GET", f"/schemas/ids/{NEWER_ID}")]


def test_an_id_that_nobody_knows_is_asked_for_once(registry: FakeRegistry, client: Registry) -> None:
    codec = AvroCodec(find=RegistrySchemas(client))
    for _ in range(3):
        with pytest.raises(Undecodable, match="schema id 7 is not in"):
            codec.decode(framed(7, b""))
    assert len(registry.asked) == 1


def test_a_schema_of_somebody_else_is_undecodable_by_its_name(registry: FakeRegistry, client: Registry) -> None:
    registry.put("x", 1, 7, {"type": "record", "name": "Cart", "namespace": "shop", "fields": []})
    with pytest.raises(Undecodable, match=r"shop\.Cart, which is none of our messages"):
        AvroCodec(find=RegistrySchemas(client)).decode(framed(7, b""))


def test_an_outage_is_no_property_of_the_record(registry: FakeRegistry, client: Registry) -> None:
    registry.status = 503
    codec = AvroCodec(find=RegistrySchemas(client))
    with pytest.raises(RegistryUnreachable, match="answered 503"):
        codec.decode(framed(NEWER_ID, b""))
    registry.status = None
    registry.put(CANCELLED.subject, 2, NEWER_ID, newer())
    assert codec.decode(framed(NEWER_ID, b"\x06why\x00")) == OrderCancelled("why")


def test_a_version_is_imported_under_its_own_id(registry: FakeRegistry, client: Registry) -> None:
    sent = Registered(CANCELLED.subject, 1, CANCELLED.id, CANCELLED.schema)
    assert client.import_version(sent) == CANCELLED.id
    assert client.find(CANCELLED.subject, 1) == sent
    assert client.subjects() == [CANCELLED.subject]
    assert registry.modes == {CANCELLED.subject: "READWRITE"}


def test_a_registry_that_cannot_import_says_so(registry: FakeRegistry, client: Registry) -> None:
    registry.imports = False
    with pytest.raises(RegistryRefused, match=r"\(405\): Method Not Allowed"):
        client.import_version(Registered(CANCELLED.subject, 1, CANCELLED.id, CANCELLED.schema))


def test_a_registry_that_is_away_is_unreachable() -> None:
    with serving() as gone:
        pass
    with Registry(gone.url) as client, pytest.raises(RegistryUnreachable, match="does not answer"):
        client.subjects()
