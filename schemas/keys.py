"""Compound keys of tables: their separator, and the part that decides in which partition a row lies."""

from __future__ import annotations

# Between the parts of a compound key. Of all parts only a customer's id may hold it itself.
SEPARATOR = "\x1f"
# A customer's id is any string: what follows the last separator is the order's id, which never holds one.
_ENDS_AT_LAST = frozenset({"orders_by_customer"})


def routing_key(table: str, key: str) -> str:
    """What routes a row of `table`, given its key or a prefix of keys that ends with a separator."""
    if table in _ENDS_AT_LAST and SEPARATOR in key:
        return key.rpartition(SEPARATOR)[0]
    return key.partition(SEPARATOR)[0]


def is_under(table: str, prefix: str, key: str) -> bool:
    """Whether `key`, which begins with `prefix`, belongs to it, rather than to a longer id that begins like it."""
    if table not in _ENDS_AT_LAST or not prefix.endswith(SEPARATOR):
        return True
    return SEPARATOR not in key[len(prefix) :]
