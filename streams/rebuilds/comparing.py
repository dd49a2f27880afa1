"""Compares two versions of a table row by row: both in the order of their keys, each read once.

One pass over both costs what two checksums would, and names the rows that differ at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

Pairs = Iterator[tuple[bytes, bytes]]


@dataclass(slots=True)
class Comparison:
    """How many rows each side has and how many differ; `rows` shows the first of these as `{key, served, built}`."""

    served: int = 0
    built: int = 0
    differ: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)


def compare(served: Pairs, built: Pairs, rows_max: int) -> Comparison:
    """Of (key, value) pairs in the order of keys; values are JSON, and equal when they mean the same."""
    found = Comparison()
    for key, old, new in _joined(served, built):
        found.served += old is not None
        found.built += new is not None
        if old == new or (old is not None and new is not None and orjson.loads(old) == orjson.loads(new)):
            continue
        found.differ += 1
        if len(found.rows) < rows_max:
            found.rows.append({"key": key.decode(), "served": _row(old), "built": _row(new)})
    return found


def _joined(served: Pairs, built: Pairs) -> Iterator[tuple[bytes, bytes | None, bytes | None]]:
    old, new = next(served, None), next(built, None)
    while True:
        if old is not None and (new is None or old[0] < new[0]):
            yield old[0], old[1], None
            old = next(served, None)
        elif new is not None and (old is None or new[0] < old[0]):
            yield new[0], None, new[1]
            new = next(built, None)
        elif old is not None and new is not None:
            yield old[0], old[1], new[1]
            old, new = next(served, None), next(built, None)
        else:
            return


def _row(value: bytes | None) -> Any:
    return None if value is None else orjson.loads(value)
