"""The writer of the latency runs, a process of its own: `python -m bench.outbox.writing URL RATE SECONDS ROWS_A_TRANSACTION`.

Prints the Unix seconds at which each COMMIT had returned, as JSON, one a transaction.
"""

from __future__ import annotations

import json
import sys
import time

import psycopg

from bench.outbox.carriers import INSERT


def write(url: str, rate: int, seconds: int, rows_a_transaction: int) -> list[float]:
    """Rows numbered from 0 on, at an even pace."""
    committed = []
    began = time.monotonic()
    with psycopg.connect(url, autocommit=True) as connection:
        for first in range(0, rate * seconds, rows_a_transaction):
            time.sleep(max(0.0, began + first / rate - time.monotonic()))
            connection.execute(INSERT, (first, first + rows_a_transaction - 1))
            committed.append(time.time())
    return committed


if __name__ == "__main__":
    print(json.dumps(write(sys.argv[1], *map(int, sys.argv[2:]))))
