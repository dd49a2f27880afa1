"""Lets old holds ask their sagas: the heap follows what was committed, and questions leave between batches.

Where an old hold's SKU is short still, the orders that are to give way are asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

from faust_rdkafka import App
from streams.inventory.commands import SOURCE
from streams.inventory.old_holds import OldHolds
from streams.inventory.shortages import relieve_again
from streams.outgoing import Outgoing

# Holds ask after minutes: seconds more matter to nobody.
LOOK_INTERVAL_S = 2.0


def watch_old_holds(
    app: App, levels: Any, holds: Any, send: Callable[[list[Outgoing]], None], clock: Callable[[], datetime]
) -> None:
    """Registers with the app all that it takes; `levels` and `holds` are the tables."""
    old = OldHolds(SOURCE)

    @app.on_partitions_restored
    def restore(partitions: set[int]) -> None:
        for partition in partitions:
            old.restore(partition, holds.partition(partition))

    @app.on_partitions_dropped
    def drop(partitions: set[int]) -> None:
        for partition in partitions:
            old.drop(partition)

    @app.on_commit
    def note(table: str, partition: int, keys: Collection[Any]) -> None:
        if table == holds.name:
            old.note(partition, holds.partition(partition), keys)

    @app.batch_timer(LOOK_INTERVAL_S)
    async def ask() -> None:
        now = clock()
        for partition in sorted(holds.partitions_owned()):
            rows = holds.partition(partition)
            questions = old.ask(partition, rows, now)
            skus = {question.message.body.sku for question in questions}
            send([*questions, *relieve_again(skus, levels.partition(partition), rows, SOURCE, now)])
