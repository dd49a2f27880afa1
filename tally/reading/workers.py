"""Finds the Faust workers and asks them for rows of their tables: Kafka's own group metadata is the only registry."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from schemas.histories import Sum
from schemas.topics import APP_ID
from tally.reading.reader import REQUEST_TIMEOUT_S, Unreachable

_CLIENT_ID = re.compile(r"tally-worker-(\d+)@(.+:\d+)")
PAGE_ROWS = 1_000
# `httpx.get`, or that of a client that keeps its connections.
Ask = Callable[..., httpx.Response]


class NotServed(Exception):
    """No worker answers for a table just now: none runs, or its owner still recovers."""


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker as the group's metadata names it; `url` is where it answers."""

    index: int
    url: str
    partitions: tuple[tuple[str, int], ...]


def find(bootstrap: str) -> list[Worker]:
    """All workers of the application, by index. Raises Unreachable."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    try:
        described = admin.describe_consumer_groups([APP_ID], request_timeout=REQUEST_TIMEOUT_S)[APP_ID].result()
    except KafkaException as error:
        raise Unreachable(f"Kafka at {bootstrap} does not answer: {error.args[0].str()}") from None
    workers = []
    for member in described.members:
        named = _CLIENT_ID.fullmatch(member.client_id)
        if named is not None:
            assigned = tuple((p.topic, p.partition) for p in member.assignment.topic_partitions)
            workers.append(Worker(int(named[1]), f"http://{named[2]}", assigned))
    return sorted(workers, key=lambda worker: worker.index)


def scan(workers: list[Worker], table: str, prefix: str = "") -> Iterator[dict[str, Any]]:
    """Every row of a table, as `{key, value, …}`, over all workers. Raises NotServed."""
    if not workers:
        raise NotServed("no worker runs")
    for worker in workers:
        cursor: str | None = ""
        with httpx.Client(base_url=worker.url, timeout=REQUEST_TIMEOUT_S) as client:
            while cursor is not None:
                page = _page(client, table, {"prefix": prefix, "cursor": cursor, "limit": PAGE_ROWS})
                yield from page["items"]
                cursor = page["next"] or None


def get(workers: list[Worker], table: str, key: str, ask: Ask = httpx.get) -> dict[str, Any] | None:
    """The row of a key; None when its owner has none. Raises NotServed."""
    return _of_the_owner(workers, f"tables/{table}/{quote(key, safe='')}", table, ask)


def sagas(workers: list[Worker], asked: dict[str, str]) -> list[dict[str, Any]]:
    """The newest sagas of all workers, of those that are asked for. Raises NotServed."""
    if not workers:
        raise NotServed("no worker runs")
    found: list[dict[str, Any]] = []
    for worker in workers:
        try:
            answer = httpx.get(f"{worker.url}/sagas", params=asked, timeout=REQUEST_TIMEOUT_S)
        except httpx.TransportError as error:
            raise NotServed(f"worker at {worker.url} does not answer: {error}") from None
        if answer.status_code != 200:
            raise NotServed(f"worker at {worker.url} shows no sagas just now ({answer.status_code})")
        found += answer.json()["items"]
    return sorted(found, key=lambda saga: (saga["started_at"] or "", saga["order_id"]), reverse=True)


def saga(workers: list[Worker], order_id: str) -> dict[str, Any] | None:
    """One saga as its owner shows it; None where there is none. Raises NotServed."""
    return _of_the_owner(workers, f"sagas/{quote(order_id, safe='')}", "sagas", httpx.get)


def history(workers: list[Worker], of: tuple[str, str], first: int, last: int, ask: Ask) -> list[dict[str, Any]]:
    """Rows of (aggregate type, id) that its worker has indexed, page by page. Raises NotServed."""
    path = f"/histories/{of[0]}/{quote(of[1], safe='')}"
    for worker in workers:
        rows: list[dict[str, Any]] = []
        next_: int | None = first
        try:
            while next_ is not None:
                asked = {"from": next_, "to": last}
                answer = ask(f"{worker.url}{path}", params=asked, timeout=REQUEST_TIMEOUT_S)
                if answer.status_code != 200:
                    break
                page = answer.json()
                rows += page["items"]
                next_ = page["next"]
        except httpx.TransportError:
            continue
        if next_ is None:
            return rows
    raise NotServed(f"no worker answers for the history of {of[0]}/{of[1]}")


def history_sums(workers: list[Worker], aggregatetype: str) -> dict[int, Sum]:
    """What the workers' indexes of one type's histories come to, by partition. Raises NotServed."""
    found: dict[int, Sum] = {}
    for worker in workers:
        asked = {"after": "", "until": ""}
        with httpx.Client(base_url=worker.url, timeout=REQUEST_TIMEOUT_S) as client:
            while True:
                try:
                    answer = client.get(f"/histories-sums/{aggregatetype}", params=asked)
                except httpx.TransportError as error:
                    raise NotServed(f"worker at {worker.url} does not answer: {error}") from None
                if answer.status_code != 200:
                    raise NotServed(f"worker at {worker.url} has no index just now ({answer.status_code})")
                page = answer.json()
                for number, (until, events, digest) in page["sums"].items():
                    each = found.setdefault(int(number), Sum(until))
                    each.events += events
                    each.digest ^= digest
                if not page["next"] or not page["sums"]:
                    break
                # The first page says how far the index reached; what is indexed since does not count.
                until_now = ",".join(f"{number}:{sum_[0]}" for number, sum_ in page["sums"].items())
                asked = {"after": page["next"], "until": until_now}
    return found


def _of_the_owner(workers: list[Worker], path: str, what: str, ask: Ask) -> dict[str, Any] | None:
    answered = False
    for worker in workers:
        try:
            answer = ask(f"{worker.url}/{path}", timeout=REQUEST_TIMEOUT_S)
        except httpx.TransportError:
            continue
        if answer.status_code == 200:
            found: dict[str, Any] = answer.json()
            return found
        answered = answered or answer.status_code == 404
    if not answered:
        raise NotServed(f"no worker answers for {what}")
    return None


def _page(client: httpx.Client, table: str, params: dict[str, str | int]) -> dict[str, Any]:
    try:
        answer = client.get(f"/tables/{table}", params={name: value for name, value in params.items() if value != ""})
    except httpx.TransportError as error:
        raise NotServed(f"worker at {client.base_url} does not answer: {error}") from None
    if answer.status_code != 200:
        raise NotServed(f"worker at {client.base_url} has no {table} just now ({answer.status_code})")
    page: dict[str, Any] = answer.json()
    return page
