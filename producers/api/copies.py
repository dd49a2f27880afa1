"""Reads the copies of rows in Valkey; a miss means "ask the owner", never "not there"."""

from __future__ import annotations

from typing import Any, Protocol

import orjson
import redis.asyncio
import structlog
from redis.exceptions import RedisError

# A copy that takes longer than this is no short cut.
COPY_WITHIN_S = 0.25

_log = structlog.stdlib.get_logger(__name__)


class Copies(Protocol):
    """Copies of rows, by table and key."""

    async def find(self, table: str, key: str, version: int | None) -> dict[str, Any] | None:
        """The row's value where a copy at `version` or later is at hand, else None."""


class NoCopies:
    """No copies at hand: every read asks the owner."""

    async def find(self, table: str, key: str, version: int | None) -> dict[str, Any] | None:
        """None."""
        return None


class ValkeyCopies:
    """Copies as `connectors/copies` keeps them: a hash `tally:<table>:<key>` with value, version and offset."""

    def __init__(self, url: str, within_s: float = COPY_WITHIN_S) -> None:
        self._client = redis.asyncio.Redis.from_url(url, socket_timeout=within_s, socket_connect_timeout=within_s)

    async def aclose(self) -> None:
        """Closes all connections."""
        await self._client.aclose()

    async def find(self, table: str, key: str, version: int | None) -> dict[str, Any] | None:
        """See `Copies.find`; while Valkey is away there is no copy at hand."""
        try:
            value, held = await self._client.hmget(f"tally:{table}:{key}", ["value", "version"])
        except RedisError as error:
            _log.warning("copies out of reach, asking owners", error=type(error).__name__)
            return None
        if not value:
            return None
        row = orjson.loads(value)
        if not isinstance(row, dict):
            return None
        reached = int(held) if held else row.get("version") or 0
        return row if version is None or reached >= version else None
