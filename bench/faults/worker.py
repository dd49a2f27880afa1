"""One agent over any of the transports: a fold of commands into a table, one outcome a command, in Faust's own words.

python -m bench.faults.worker KIND APP BOOTSTRAP SOURCE TARGET FOLDER INSTANCE
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import faust

from bench.reservations.work import PARTITIONS
from faust_rdkafka import App, run

OURS = "rdkafka"
STOCK = {"at-least-once": "at_least_once", "exactly-once": "exactly_once"}
RAISES_AT = "raises-at"  # file in the folder: the number of the command whose first reading raises
SESSION_S = 6


def make_app(kind: str, app_id: str, bootstrap: str, folder: Path, instance: str) -> Any:
    """Stock Faust gets what favours it here: short sessions and commits, as ours has; the rest is its default."""
    if kind == OURS:
        return App(app_id, broker=f"rdkafka://{bootstrap}", instance=instance, datadir=folder, web_enabled=False)
    return faust.App(
        app_id,
        broker=f"kafka://{bootstrap}",
        processing_guarantee=STOCK[kind],
        store="memory://",
        datadir=folder / instance,
        web_enabled=False,
        topic_partitions=PARTITIONS,
        topic_disable_leader=True,
        broker_session_timeout=SESSION_S,
        broker_heartbeat_interval=1,
        broker_commit_interval=0.5,
    )


def declare(app: Any, source: str, target: str, folder: Path) -> None:
    table = app.Table("fold", partitions=PARTITIONS)
    outcomes = app.topic(target, key_serializer="raw", value_serializer="json")

    @app.agent(app.topic(source, key_serializer="raw", value_serializer="json"))
    async def fold(commands: Any) -> None:
        async for event in commands.events():
            key, command = event.key.decode(), event.value
            raise_once(folder / RAISES_AT, command["n"])
            row = table.get(key) or {"total": 0, "version": 0}
            row = table[key] = {"total": row["total"] + command["quantity"], "version": row["version"] + 1}
            await outcomes.send(key=event.key, value={"n": command["n"], **row})


def raise_once(place: Path, number: int) -> None:
    """As a look-up does that fails once: the same command goes well the next time."""
    if place.exists() and place.read_text() == str(number):
        place.unlink()
        raise ConnectionError(f"command {number}, for the first time")


def main(arguments: list[str]) -> int:
    kind, app_id, bootstrap, source, target, folder, instance = arguments
    app = make_app(kind, app_id, bootstrap, Path(folder), instance)
    declare(app, source, target, Path(folder))
    if kind == OURS:
        return asyncio.run(run(app))
    faust.Worker(app, loglevel="warn").execute_from_commandline()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
