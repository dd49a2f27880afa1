"""The copies in Valkey: a hash per row, written only by records newer than what it holds, and marks of completeness.

A mark, one per partition, says: everything below the group's offset was written into this very server process
(its run id) from this very topic (its topic id; each version of a table has a topic of its own). A server that was restarted, emptied or failed over has no such mark,
and the partition is copied again from its beginning. Copies that another life left behind are removed first: they could
hold rows whose deletion the changelog has forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry

from connectors.consuming import Partition
from connectors.copies.rows import Row

SOCKET_TIMEOUT_S = 5
SCAN_COUNT = 1_000

# KEYS: the row's hash, the marks. ARGV: table version, offset, "1" for a deletion, tombstone's life in seconds, row
# version, value, the mark of the version that is copied: a sink that has not heard of a promotion yet writes nothing.
# Offsets and versions are whole numbers below 2^53, which Lua's numbers hold exactly.
GUARDED_WRITE = """
local held = redis.call('HMGET', KEYS[1], 'table_version', 'offset')
local table_version, offset = tonumber(ARGV[1]), tonumber(ARGV[2])
local copied = redis.call('HGET', KEYS[2], ARGV[7])
if copied and tonumber(copied) > table_version then return 0 end
if held[1] and held[2] then
  local held_version, held_offset = tonumber(held[1]), tonumber(held[2])
  if held_version > table_version or (held_version == table_version and held_offset >= offset) then return 0 end
end
if ARGV[3] == '1' then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'table_version', ARGV[1], 'offset', ARGV[2])
  redis.call('EXPIRE', KEYS[1], ARGV[4])
else
  redis.call('HSET', KEYS[1], 'value', ARGV[6], 'version', ARGV[5], 'offset', ARGV[2], 'table_version', ARGV[1])
  redis.call('PERSIST', KEYS[1])
end
return 1
"""


class ValkeyAway(Exception):
    """Valkey does not answer now, or not as it should; try again."""


class Emptied(Exception):
    """Valkey is not the one that was marked: restarted, emptied or failed over. The copies begin anew."""


@dataclass(frozen=True, slots=True)
class Namespace:
    """Names of our keys."""

    prefix: str
    tombstone_s: int

    def row(self, table: str, key: bytes) -> bytes:
        """`<prefix>:<table>:<key>`; a key may hold any bytes."""
        return f"{self.prefix}:{table}:".encode() + key

    @property
    def marks(self) -> str:
        """The hash of marks."""
        return f"{self.prefix}-copies:marks"


class Copies:
    """The copies behind one connection; every method raises ValkeyAway."""

    def __init__(self, url: str, names: Namespace) -> None:
        # No retries of its own: a connection made anew may reach another life of the server, and we have to look.
        self._client = redis.Redis.from_url(
            url, socket_timeout=SOCKET_TIMEOUT_S, socket_connect_timeout=SOCKET_TIMEOUT_S, retry=Retry(NoBackoff(), 0)
        )
        self._names = names
        self._script = ""

    def run_id(self) -> str:
        """Which life of the server answers."""
        return _run_id(self._ask(lambda: self._client.info("server")))

    def unmarked(self, wanted: Mapping[Partition, str]) -> list[Partition]:
        """Partitions whose mark is not the wanted one. Loads the script, too."""
        self._script = self._ask(lambda: self._client.script_load(GUARDED_WRITE))
        partitions = list(wanted)
        held = (
            self._ask(lambda: self._client.hmget(self._names.marks, [_field(p) for p in partitions]))
            if partitions
            else []
        )
        return [p for p, mark in zip(partitions, held, strict=True) if mark != wanted[p].encode()]

    def mark(self, wanted: Mapping[Partition, str]) -> None:
        """From now on these partitions count as complete below the group's offsets."""
        if wanted:
            self._ask(
                lambda: self._client.hset(self._names.marks, mapping={_field(p): mark for p, mark in wanted.items()})
            )

    def remove_former_life(self, topic: str, table: tuple[str, int], partitions: Iterable[int], life: str) -> None:
        """Remove what another life of server or topic, or another version, left of a table (name, version), unless
        somebody did so already."""
        if self._ask(lambda: self._client.hget(self._names.marks, topic)) == life.encode():
            return
        name, version = table
        # First, so that what is removed is not written again meanwhile.
        self._ask(lambda: self._client.hset(self._names.marks, _version_field(name), version))
        self._ask(lambda: self._unlink_all(name))
        fields = [_field((topic, partition)) for partition in partitions]

        def swap() -> Any:
            with self._client.pipeline(transaction=True) as pipe:
                if fields:
                    pipe.hdel(self._names.marks, *fields)
                pipe.hset(self._names.marks, topic, life)
                return pipe.execute()

        self._ask(swap)

    def write(self, rows: Sequence[Row], wanted: Mapping[Partition, str]) -> list[bool]:
        """Write the rows, in one exchange; whether each was newer than what was held.

        Raises Emptied when the server is not the one that was marked: then the offsets must not be committed.
        """
        partitions = list(wanted)

        def exchange() -> list[Any]:
            with self._client.pipeline(transaction=False) as pipe:
                for row in rows:
                    self._add(pipe, row)
                pipe.info("server")
                # The empty field keeps the question lawful when there is no partition to ask for.
                pipe.hmget(self._names.marks, [*map(_field, partitions), ""])
                return pipe.execute()

        try:
            *written, info, held = self._ask(exchange)
        except NoScriptError as error:
            raise Emptied("its scripts are gone") from error
        run_id = _run_id(info)
        for partition, mark in zip(partitions, held, strict=False):
            if mark != wanted[partition].encode() or not wanted[partition].endswith(run_id):
                raise Emptied(f"the mark of {_field(partition)} is gone")
        return [answer == 1 for answer in written]

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _add(self, pipe: Any, row: Row) -> None:
        deleted = row.value is None
        pipe.evalsha(
            self._script,
            2,
            self._names.row(row.table, row.key),
            self._names.marks,
            row.table_version,
            row.offset,
            "1" if deleted else "0",
            self._names.tombstone_s,
            row.version,
            row.value or b"",
            _version_field(row.table),
        )

    def _unlink_all(self, table: str) -> None:
        names: list[bytes] = []
        for name in self._client.scan_iter(match=_escaped(self._names.row(table, b"")) + b"*", count=SCAN_COUNT):
            names.append(name)
            if len(names) >= SCAN_COUNT:
                self._client.unlink(*names)
                names.clear()
        if names:
            self._client.unlink(*names)

    def _ask(self, question: Any) -> Any:
        try:
            return question()
        except NoScriptError:
            raise
        except (RedisError, OSError) as error:
            raise ValkeyAway(f"valkey: {error}") from None


def life_of(topic_id: str, run_id: str) -> str:
    """The text of a mark."""
    return f"{topic_id}/{run_id}"


def _field(partition: Partition) -> str:
    return f"{partition[0]}/{partition[1]}"


def _version_field(table: str) -> str:
    return f"version/{table}"


def _run_id(info: Mapping[str, Any]) -> str:
    return str(info["run_id"])


def _escaped(pattern: bytes) -> bytes:
    for sign in (b"\\", b"*", b"?", b"[", b"]"):
        pattern = pattern.replace(sign, b"\\" + sign)
    return pattern
