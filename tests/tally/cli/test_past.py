"""Verbs that look into the past: what they ask of the API, what they print, how they fail."""

from __future__ import annotations

import json
from typing import Any

import pytest

NOON = "2026-11-20T12:00:00Z"
ASKED_NOON = "2026-11-20T12%3A00%3A00.000Z"
DIFF = {
    "key": "c1\x1fo1",
    "from": {"at": "t1", "version": 0, "recorded_at": None},
    "to": {"at": "t2", "version": 2, "recorded_at": "t2"},
    "changes": [{"field": "status", "before": None, "after": "CANCELLED"}],
}


@pytest.mark.parametrize(
    ("table", "key", "path"),
    [
        ("orders", "o1", "/tables/orders/o1"),
        ("stock", "SHELF/1", "/tables/stock/SHELF%2F1"),
        ("orders_by_customer", "c/1/o1", "/tables/orders_by_customer/c%2F1%1Fo1"),
    ],
)
def test_a_row_of_the_past_is_asked_of_the_api(run: Any, api: Any, table: str, key: str, path: str) -> None:
    row = {"key": key, "value": {"status": "CREATED"}, "version": 1}
    api.answer("GET", path, 200, row)
    result = run("tables", "get", table, key, "--at", NOON, "-f", "json", "--api", api.url)
    assert (result.exit_code, json.loads(result.stdout)) == (0, row)
    assert api.asked[0][1] == f"{path}?at={ASKED_NOON}"


VERBS = [
    (["tables", "diff", "orders_by_customer", "c1/o1"], "/tables/orders_by_customer/c1%1Fo1"),
    (["orders", "diff", "o1"], "/orders/o1"),
    (["stock", "diff", "SHELF/1"], "/stock/SHELF%2F1"),
]


@pytest.mark.parametrize(("verb", "path"), VERBS)
def test_what_changed_is_a_line_for_each_field(run: Any, api: Any, verb: list[str], path: str) -> None:
    api.answer("GET", path, 200, DIFF)
    result = run(*verb, "--from", NOON, "--to", "1795521600", "-f", "table", "--api", api.url)
    assert result.exit_code == 0
    assert api.asked[0][1] == f"{path}?from={ASKED_NOON}&to=2026-11-24T12%3A00%3A00.000Z"
    title, columns, change = result.stdout.splitlines()
    assert title == "c1/o1: not there at t1 -> version 2 at t2"
    assert columns.split() == ["field", "before", "after"]
    assert change.split() == ["status", "CANCELLED"]


def test_programs_get_the_whole_difference(run: Any, api: Any) -> None:
    api.answer("GET", "/orders/o1", 200, DIFF)
    result = run("orders", "diff", "o1", "--from", NOON, "--api", api.url)
    assert json.loads(result.stdout) == DIFF
    assert api.asked[0][1] == f"/orders/o1?from={ASKED_NOON}"


def test_no_change_is_said(run: Any, api: Any) -> None:
    api.answer("GET", "/orders/o1", 200, {**DIFF, "changes": []})
    assert "nothing changed" in run("orders", "diff", "o1", "--from", NOON, "-f", "table", "--api", api.url).stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tables", "get", "orders", "o1", "--at", "yesterday"], "--at yesterday"),
        (["tables", "diff", "orders", "o1", "--from", "yesterday"], "--from yesterday"),
        (["stock", "diff", "a", "--from", NOON, "--to", "99999999999999999999"], "--to 9"),
        (["orders", "diff", "o1"], "--from"),
    ],
)
def test_what_is_no_moment_is_wrong_usage(run: Any, api: Any, arguments: list[str], said: str) -> None:
    result = run(*arguments, "--api", api.url)
    assert result.exit_code == 2
    assert said in result.stderr
    assert api.asked == []


@pytest.mark.parametrize(("status", "exit_code"), [(400, 2), (404, 3), (422, 2), (503, 4)])
def test_a_past_that_is_refused_has_its_exit_code(run: Any, api: Any, status: int, exit_code: int) -> None:
    api.answer("GET", "/tables/orders/o1", status, {"title": "No", "detail": "the reason"})
    for verb in (["get", "--at", NOON], ["diff", "--from", NOON]):
        result = run("tables", verb[0], "orders", "o1", *verb[1:], "--api", api.url)
        assert result.exit_code == exit_code
        assert "the reason" in result.stderr


def test_a_damaged_event_is_one_line_with_exit_code_5(run: Any, api: Any) -> None:
    said = "orders.events/3/17 cannot be read: cut; `tally fsck` tells more"
    api.answer("GET", "/orders/o1", 500, {"type": "event-damaged", "title": "Damaged", "detail": said})
    for verb in (["show", "o1", "--at", NOON], ["show", "o1", "--version", "1"], ["diff", "o1", "--from", NOON]):
        result = run("orders", *verb, "--api", api.url)
        assert (result.exit_code, result.stderr, result.stdout) == (5, f"{said}\n", "")


def test_a_table_that_is_none_is_not_found(run: Any, api: Any) -> None:
    assert run("tables", "diff", "nothing", "o1", "--from", NOON, "--api", api.url).exit_code == 3
    assert api.asked == []
