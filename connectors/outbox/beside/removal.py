"""Takes rows out of one table: a few pages at a time, or a partition whose time is over as a whole.

The table is walked by its pages, which needs no index and holds no lock for longer than one short statement; what
somebody else has locked is left for the next walk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import psycopg
import structlog
from psycopg import sql

from connectors.outbox.beside.horizon import Horizon

_log = structlog.get_logger()

# One statement's worth: some thousand rows, some milliseconds.
PIECE_PAGES = 64
# The end of a partition's range is told only where the range is over one column of a time.
_LEAVES = """select c.oid::regclass::text, pg_relation_size(c.oid) / current_setting('block_size')::int,
    case when (select k.typname in ('timestamptz', 'timestamp', 'date') from pg_partitioned_table p
            join pg_attribute a on a.attrelid = p.partrelid and a.attnum = p.partattrs[0] and p.partnatts = 1
            join pg_type k on k.oid = a.atttypid where p.partrelid = t.parentrelid and p.partstrat = 'r')
        then substring(pg_get_expr(c.relpartbound, c.oid) from $$TO \\('([^']+)'\\)$$) end
from (select relid, parentrelid from pg_partition_tree(%(table)s::regclass) where isleaf
    union all select oid, null from pg_class where oid = %(table)s::regclass and relkind = 'r' and not relispartition) t
join pg_class c on c.oid = t.relid order by 1"""


@dataclass(frozen=True, slots=True)
class Rule:
    """What may go: rows published by `horizon` whose ids (texts) are not in `kept` and, where there is such a column,
    whose time lies before `before`; and partitions whose range of time ended before it.
    """

    horizon: Horizon
    kept: list[str]
    before: datetime
    id_field: str
    age_field: str | None

    def holds(self) -> sql.Composed:
        """The condition for rows called `o`; takes the parameters of `values`."""
        condition = sql.SQL("{} and o.{}::text <> all(%(kept)s)").format(
            self.horizon.holds(), sql.Identifier(self.id_field)
        )
        if self.age_field is not None:
            condition += sql.SQL(" and o.{} < %(before)s").format(sql.Identifier(self.age_field))
        return condition

    def values(self) -> dict[str, object]:
        """The condition's parameters."""
        return {"kept": self.kept, "before": self.before}


def walk(connection: psycopg.Connection, table: sql.Identifier, rule: Rule) -> Iterator[int]:
    """Removes what the rule allows, one piece a step; gives each piece's rows. Raises psycopg.Error.

    The connection is in autocommit mode and has a short lock_timeout; a lock that is not had ends a piece, not the walk.
    """
    leaves = connection.execute(_LEAVES, {"table": table.as_string(connection)}).fetchall()
    for name, pages, end in leaves:
        # The name comes quoted, by regclass.
        leaf = sql.SQL(name)
        if end is not None and (dropped := _drop(connection, leaf, end, rule)) is not None:
            yield dropped
            continue
        statement = sql.SQL("delete from {} o where o.ctid >= %(first)s::tid and o.ctid < %(end)s::tid and {}").format(
            leaf, rule.holds()
        )
        for page in range(0, pages, PIECE_PAGES):
            places = {"first": f"({page},0)", "end": f"({page + PIECE_PAGES},0)"}
            try:
                yield connection.execute(statement, {**rule.values(), **places}).rowcount
            except psycopg.errors.LockNotAvailable:
                yield 0


def _drop(connection: psycopg.Connection, leaf: sql.SQL, end: str, rule: Rule) -> int | None:
    """How many rows the partition had. None if it stays: its time is not over, something in it is needed, it is locked,
    or it belongs to another role.
    """
    over = connection.execute("select %s::timestamptz <= %s", (end, rule.before)).fetchone()
    if over is None or not over[0] or _counted(connection, leaf, rule)[1]:
        return None
    try:
        with connection.transaction():
            connection.execute(sql.SQL("lock table {} in access exclusive mode").format(leaf))
            # Once more, now that nobody can add a row.
            rows, needed = _counted(connection, leaf, rule)
            if needed:
                return None
            connection.execute(sql.SQL("drop table {}").format(leaf))
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.LockNotAvailable):
        return None
    _log.info("published partition dropped", partition=leaf.as_string(connection), rows=rows)
    return rows


def _counted(connection: psycopg.Connection, leaf: sql.SQL, rule: Rule) -> tuple[int, int]:
    """(rows, those that may not go)."""
    query = sql.SQL("select count(*), count(*) filter (where not coalesce({}, false)) from {} o").format(
        rule.holds(), leaf
    )
    found = connection.execute(query, rule.values()).fetchone()
    return (0, 1) if found is None else (int(found[0]), int(found[1]))
