"""Asks workers for committed rows over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

import httpx
import orjson

# How long beyond the wait that we ask for a worker may take to answer.
ANSWER_WITHIN_S = 2.0
CONNECT_WITHIN_S = 1.0
CONNECTIONS_MAX = 64


@dataclass(frozen=True, slots=True)
class Page:
    """Rows as the worker tells them (`key`, `value`, `partition`, …) and where to go on, None at the end."""

    items: list[dict[str, Any]]
    next: str | None


class Unanswered(Exception):
    """The worker is away, recovers, or had not reached the version in time; trying again may help."""


class NotTheOwner(Unanswered):
    """The worker says that another one owns the key's partition."""


class Workers(Protocol):
    """The queries of workers; `address` is `host:port`."""

    async def get(
        self, address: str, table: str, key: str, version: int | None = None, wait_ms: int = 0
    ) -> dict[str, Any] | None:
        """The row with what the worker says about it; None where it has no such key.

        With `version` it waits up to `wait_ms` for a row that is at least there. Raises Unanswered.
        """

    async def scan(self, address: str, table: str, prefix: str, cursor: str | None, limit: int) -> Page | None:
        """A page of the rows that this worker owns; None for a table that it does not know. Raises Unanswered."""

    async def tables(self, address: str) -> Any:
        """What tables there are. Raises Unanswered."""

    async def history(self, address: str, aggregate: tuple[str, str], first: int, last: int) -> list[dict[str, Any]]:
        """Rows of `schemas.histories` of an aggregate (type, id) between two versions. Raises Unanswered."""

    async def sagas(self, address: str, asked: dict[str, str]) -> list[dict[str, Any]]:
        """Sagas of this worker, newest first, of those that are asked for. Raises Unanswered."""

    async def saga(self, address: str, order_id: str) -> dict[str, Any] | None:
        """One saga; None where there is none. Raises Unanswered."""


class HttpWorkers:
    """Workers by HTTP; `aclose` when done."""

    def __init__(self) -> None:
        limits = httpx.Limits(max_connections=CONNECTIONS_MAX, max_keepalive_connections=CONNECTIONS_MAX)
        self._client = httpx.AsyncClient(limits=limits, trust_env=False)

    async def aclose(self) -> None:
        """Closes all connections."""
        await self._client.aclose()

    async def get(
        self, address: str, table: str, key: str, version: int | None = None, wait_ms: int = 0
    ) -> dict[str, Any] | None:
        """See `Workers.get`."""
        asked = {} if version is None else {"version": str(version), "wait_ms": str(wait_ms)}
        found = await self._ask(address, f"/tables/{table}/{quote(key, safe='')}", asked, wait_ms / 1000)
        if found is None or (isinstance(found, dict) and isinstance(found.get("value"), dict)):
            return found
        raise Unanswered(f"{address} answered with no row: no worker of ours")

    async def scan(self, address: str, table: str, prefix: str, cursor: str | None, limit: int) -> Page | None:
        """See `Workers.scan`."""
        asked = {"prefix": prefix, "limit": str(limit)} | ({"cursor": cursor} if cursor else {})
        found = await self._ask(address, f"/tables/{table}", asked)
        if found is None:
            return None
        try:
            return Page(found["items"], found["next"])
        except (KeyError, TypeError) as error:
            raise Unanswered(f"{address} answered with no page: no worker of ours") from error

    async def tables(self, address: str) -> Any:
        """See `Workers.tables`."""
        return await self._ask(address, "/tables", {})

    async def history(self, address: str, aggregate: tuple[str, str], first: int, last: int) -> list[dict[str, Any]]:
        """See `Workers.history`; page by page."""
        path = f"/histories/{aggregate[0]}/{quote(aggregate[1], safe='')}"
        rows: list[dict[str, Any]] = []
        next_: int | None = first
        while next_ is not None:
            page = await self._ask(address, path, {"from": str(next_), "to": str(last)})
            if page is None:
                raise Unanswered(f"{address} keeps no histories of {aggregate[0]}")
            try:
                rows += page["items"]
                next_ = page["next"]
            except (KeyError, TypeError) as error:
                raise Unanswered(f"{address} answered with no history: no worker of ours") from error
        return rows

    async def sagas(self, address: str, asked: dict[str, str]) -> list[dict[str, Any]]:
        """See `Workers.sagas`."""
        found = await self._ask(address, "/sagas", asked)
        try:
            return list(found["items"])
        except (KeyError, TypeError) as error:
            raise Unanswered(f"{address} answered with no sagas: no worker of ours") from error

    async def saga(self, address: str, order_id: str) -> dict[str, Any] | None:
        """See `Workers.saga`."""
        found: dict[str, Any] | None = await self._ask(address, f"/sagas/{quote(order_id, safe='')}", {})
        return found

    async def _ask(self, address: str, path: str, asked: dict[str, str], wait_s: float = 0) -> Any:
        timeout = httpx.Timeout(wait_s + ANSWER_WITHIN_S, connect=CONNECT_WITHIN_S)
        try:
            answer = await self._client.get(f"http://{address}{path}", params=asked, timeout=timeout)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unanswered(f"worker {address}: {type(error).__name__}") from error
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if answer.status_code == httpx.codes.MISDIRECTED_REQUEST:
            raise NotTheOwner(f"worker {address} does not own the key")
        if answer.status_code != httpx.codes.OK:
            raise Unanswered(f"worker {address} answered {answer.status_code}")
        try:
            return orjson.loads(answer.content)
        except orjson.JSONDecodeError as error:
            # Its port may have gone to somebody else since Kafka heard of it.
            raise Unanswered(f"{address} answered with no JSON: no worker of ours") from error
