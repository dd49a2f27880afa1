"""The record of a batch that goes to Kafka in the batch's own transaction: by which database transaction, which rows.

After a death between Kafka's commit and the database's it tells which rows are published though their status says PENDING.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from connectors.outbox.errors import StartRefused

# A number and the row's id as text.
RowKey = tuple[int, str]


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """`transaction` is the database's (txid), `numbers` those of the published rows in order, `digest` that of their ids.

    The digest keeps a restored database, whose numbers may mean other rows, from being taken for this one.
    """

    table: str
    transaction: int
    numbers: Sequence[int]
    digest: str

    @classmethod
    def of(cls, table: str, transaction: int, rows: Sequence[RowKey]) -> BatchRecord:
        """Of the rows of one batch, by number."""
        return cls(table, transaction, [number for number, _ in rows], digest(rows))

    def to_json(self, recorded_at_s: float) -> bytes:
        """The record's value; numbers without a gap between them as a first one and a count."""
        runs: list[list[int]] = []
        for number in self.numbers:
            if runs and runs[-1][0] + runs[-1][1] == number:
                runs[-1][1] += 1
            else:
                runs.append([number, 1])
        return orjson.dumps(
            {
                "table": self.table,
                "transaction": self.transaction,
                "rows": runs,
                "digest": self.digest,
                "time": recorded_at_s,
            }
        )

    @classmethod
    def from_json(cls, value: bytes) -> BatchRecord:
        """Raises StartRefused for a record that is not ours."""
        try:
            content: dict[str, Any] = orjson.loads(value)
            numbers = [number for first, count in content["rows"] for number in range(first, first + count)]
            return cls(str(content["table"]), int(content["transaction"]), numbers, str(content["digest"]))
        except (ValueError, KeyError, TypeError) as wrong:
            raise StartRefused(
                f"the record of the last batch cannot be read ({wrong!r}): {value[:200]!r}; was this name that of a "
                f"connector that reads the log? give another --connector-name"
            ) from None


def digest(rows: Iterable[RowKey]) -> str:
    """Of numbers and ids in the order of the numbers."""
    found = hashlib.blake2b(digest_size=16)
    for number, row_id in rows:
        found.update(b"%d %s\n" % (number, row_id.encode()))
    return found.hexdigest()
