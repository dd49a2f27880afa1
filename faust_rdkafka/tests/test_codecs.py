"""Codecs of tables: what their bytes are, and what they hold on to."""

from __future__ import annotations

import tracemalloc

import orjson

from faust_rdkafka import JSON

ROW = {"order": "536365", "quantity": 6, "outcome": "RESERVED"}


def test_json_of_a_row_is_orjsons_and_comes_back() -> None:
    assert JSON.dumps(ROW) == orjson.dumps(ROW)
    assert JSON.loads(JSON.dumps(ROW)) == ROW


def test_json_that_is_kept_holds_no_buffer_of_its_writer() -> None:
    count = 1000
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        kept = [JSON.dumps(ROW) for _ in range(count)]
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / count < 3 * len(kept[0])
