"""A worker that knows new folds: of `orders` (it counts lines) and of `stock`, from version 2 on. `changed_worker.py INDEX PORT`.

The fold of `stock` kills its process, once, at the first event of the SKU `bomb`, and waits at those of SKUs `gate…` for
as long as nobody opens the FIFO `gate` to write, where there is one; that of `orders` fails on orders of the customer
`unforeseen`, and gives a row that is no JSON for those of `unwritable`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from schemas.codec import AvroCodec
from schemas.envelope import Message, now
from streams.read_models import orders, stock
from streams.read_models.history import Row
from streams.read_models.table_of_tables import READ_MODELS, ReadModel
from streams.worker.process import WorkerSettings, work
from tally import logs
from tally.settings import Settings

EXPLODED = Path(os.environ["TALLY_DATA_DIR"]) / "exploded"
GATE = Path(os.environ["TALLY_DATA_DIR"]) / "gate"


def count_lines(row: Row | None, event: Message) -> Row | None:
    """The fold of orders, with how many lines an order has."""
    after = orders.evolve(row, event)
    if after is None:
        return None
    if after["customer_id"] == "unforeseen":
        raise ZeroDivisionError("nobody thought of this customer")
    return {**after, "line_count": {1} if after["customer_id"] == "unwritable" else len(after["lines"])}


def explode(row: Row | None, event: Message) -> Row | None:
    """The fold of stock, but for the bomb and the gate."""
    if event.envelope.subject.startswith("gate") and GATE.exists():
        GATE.open("rb").close()
    if event.envelope.subject == "bomb" and not EXPLODED.exists():
        EXPLODED.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return stock.evolve(row, event)


MODELS = (
    *READ_MODELS,
    ReadModel("orders", "orders.events", orders.key, count_lines, since=2),
    ReadModel("stock", "inventory.events", stock.key, explode, since=2),
)


def main() -> None:
    logs.configure("worker-changed")
    known = Settings()
    settings = WorkerSettings(known.kafka_bootstrap, int(sys.argv[1]), "127.0.0.1", int(sys.argv[2]), known.data_dir)
    raise SystemExit(asyncio.run(work(settings, now, AvroCodec(), MODELS)))


if __name__ == "__main__":
    main()
