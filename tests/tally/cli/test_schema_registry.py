"""`tally schemas diff` and `push` against a registry."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from registry_server import FakeRegistry, serving

from schemas.catalogue import load


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with serving() as running:
        yield running


def rows(result: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_push_registers_what_lacks_and_a_second_one_nothing(run: Any, registry: FakeRegistry) -> None:
    tried = run("schemas", "push", "--registry", registry.url, "--dry-run")
    assert (tried.exit_code, len(rows(tried)), registry.schemas) == (0, len(load()), {})
    assert run("schemas", "diff", "--registry", registry.url).exit_code == 5
    first = run("schemas", "push", "--registry", registry.url)
    assert (first.exit_code, len(rows(first))) == (0, len(load()))
    assert {id_: json.loads(text) for id_, text in registry.schemas.items()} == {e.id: e.schema for e in load()}
    again = run("schemas", "push", "--registry", registry.url)
    assert (again.exit_code, again.stdout) == (0, "")
    assert run("schemas", "diff", "--registry", registry.url).exit_code == 0


def test_what_differs_stops_the_push_before_anything_is_written(run: Any, registry: FakeRegistry) -> None:
    first, second, third = load()[:3]
    registry.put(first.subject, first.version, 17, first.schema)
    registry.put(second.subject, second.version, second.id, {**second.schema, "doc": "Other words."})
    registry.put("shop.Cart", 1, third.id, {"type": "record", "name": "Cart", "namespace": "shop", "fields": []})
    result = run("schemas", "push", "--registry", registry.url)
    assert result.exit_code == 5
    assert [row["state"] for row in rows(result)] == ["id 17", "another schema", f"id {third.id} stands for shop.Cart"]
    assert not any(method in ("PUT", "POST") for method, _ in registry.asked)


def test_without_a_registry_the_verbs_say_what_is_missing(run: Any) -> None:
    result = run("schemas", "push")
    assert result.exit_code == 2
    assert "TALLY_SCHEMA_REGISTRY_URL" in result.stderr


def test_a_registry_that_is_away_or_refuses_is_said_so(run: Any, registry: FakeRegistry) -> None:
    registry.imports = False
    refused = run("schemas", "push", "--registry", registry.url)
    assert (refused.exit_code, "405" in refused.stderr) == (1, True)
    registry.status = 500
    away = run("schemas", "diff", "--registry", registry.url)
    assert (away.exit_code, "answered 500" in away.stderr) == (4, True)


def test_two_versions_of_one_schema_are_asked_for_by_number(run: Any) -> None:
    result = run("schemas", "diff", "ORDER_CREATED")
    assert (result.exit_code, "has no version 0; it has 1" in result.stderr) == (3, True)
    assert run("schemas", "diff", "ORDER_CREATED", "--from", "1").stdout == ""
    assert run("schemas", "diff", "NOTHING").exit_code == 3
