"""An outbox table with the columns that polling keeps, and what is demanded of everything that came out of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from connectors.outbox.polling.columns import polling_sql
from connectors.outbox.polling.options import Polling


@pytest.fixture
def polled(outbox: Any) -> Any:
    """`start` and `spawn` make connectors that poll."""
    outbox.sql(polling_sql("public.outbox", Polling()))
    outbox.polls()
    return outbox


@pytest.fixture
def polled_pair(outbox_pair: Callable[..., Any]) -> Callable[..., Any]:
    """The same on a server and a broker of the test's own."""

    def make(host: Any, bootstrap: str) -> Any:
        outbox = outbox_pair(host, bootstrap)
        outbox.sql(polling_sql("public.outbox", Polling()))
        outbox.polls()
        return outbox

    return make


@pytest.fixture
def assert_effectively_once() -> Callable[..., int]:
    """Every committed row is there, in the order of numbers within its aggregate; repeats have the same id and content.

    Takes the outbox and its records; gives the number of repeats.
    """

    def check(outbox: Any, records: list[Any]) -> int:
        rows = outbox.sql("select id::text, aggregateid, payload from outbox order by number")
        in_table = {row_id: (key, bytes(payload)) for row_id, key, payload in rows}
        first: dict[str, list[str]] = {}
        seen: set[str] = set()
        for record in records:
            row_id = dict(record.headers())["id"].decode()
            assert (record.key().decode(), record.value()) == in_table[row_id], "never committed, or changed"
            if row_id not in seen:
                seen.add(row_id)
                first.setdefault(record.key().decode(), []).append(row_id)
        assert set(in_table) - seen == set(), "lost"
        wanted: dict[str, list[str]] = {}
        for row_id, key, _ in rows:
            wanted.setdefault(key, []).append(row_id)
        assert first == wanted
        return len(records) - len(seen)

    return check
