"""The index over HTTP: workers are found once, and anew when they have moved."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from schemas.partitioning import partition_of
from tally.local.ports import free_ports
from tally.reading.workers import NotServed, Worker
from tally.reading.workers_index import WorkersIndex

ORDER = "o1"
HOME = partition_of(ORDER.encode(), 4)
# Versions of a page, as the worker bounds it.
PAGE = 3


@contextmanager
def serving(answer: Callable[[str], tuple[int, Any]]) -> Iterator[str]:
    """A worker on a port of this machine; `answer` is asked with the path and its question."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, body = answer(self.path)
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *_: Any) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def owner(path: str) -> tuple[int, Any]:
    """Five versions, a page at a time, and a row of stock at version 5."""
    asked = urlsplit(path)
    if asked.path == "/tables/stock/o1":
        return 200, {"value": {"version": 5}}
    given = parse_qs(asked.query)
    first, last = int(given["from"][0]), min(int(given["to"][0]), 5)
    there = list(range(first, last + 1))
    return 200, {"items": [{"version": each} for each in there[:PAGE]], "next": first + PAGE if there[PAGE:] else None}


def stranger(_: str) -> tuple[int, Any]:
    return 421, {"detail": "another worker owns it"}


def versions(index: WorkersIndex, last: int = 9) -> list[int]:
    return [row["version"] for row in index.rows("inventory", ORDER, 1, last)]


def test_workers_are_found_once_and_the_owner_is_asked_first() -> None:
    found, asked = [], []

    def other(path: str) -> tuple[int, Any]:
        asked.append(path)
        return stranger(path)

    with serving(owner) as home, serving(other) as away:

        def find(bootstrap: str) -> list[Worker]:
            found.append(bootstrap)
            elsewhere = (HOME + 1) % 4
            return [Worker(0, away, (("a", elsewhere),)), Worker(1, home, (("a", HOME),))]

        index = WorkersIndex("kafka:1", find)
        assert [versions(index), versions(index, 2), index.version("inventory", ORDER)] == [[1, 2, 3, 4, 5], [1, 2], 5]
        index.close()
    assert (found, asked) == (["kafka:1"], [])


@pytest.mark.parametrize("moved", [True, False])
def test_workers_that_moved_or_died_are_found_anew(moved: bool) -> None:
    answers = [owner]
    with serving(lambda path: answers[-1](path)) as first, serving(owner) as second:
        known = [[Worker(0, first if moved else f"http://127.0.0.1:{free_ports(1)[0]}", ())], [Worker(0, second, ())]]
        index = WorkersIndex("kafka:1", lambda _: known.pop(0))
        if moved:
            assert versions(index) == [1, 2, 3, 4, 5]
        else:
            with pytest.raises(NotServed):
                versions(index)
        answers.append(stranger)
        assert versions(index) == [1, 2, 3, 4, 5]
        assert known == []
        index.close()


def test_without_a_worker_it_is_said() -> None:
    index = WorkersIndex("kafka:1", lambda _: [])
    with pytest.raises(NotServed):
        versions(index)
    index.close()
