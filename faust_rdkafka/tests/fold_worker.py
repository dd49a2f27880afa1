"""A worker to be killed: counts commands by key, one outcome a command, in batches or record by record."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import Producer
from faust_rdkafka.stores.database import Database

from faust_rdkafka import App, BatchSchema, RawRecord, Table, run


def setting(name: str, default: str = "") -> str:
    return os.environ.get(f"FOLD_{name}", default)


def fold(row: dict[str, int] | None, command: dict[str, Any]) -> dict[str, int]:
    row = row or {"total": 0, "version": 0}
    return {"total": row["total"] + command["quantity"], "version": row["version"] + 1}


async def hold(place: str) -> None:
    """Stand still with work in hand, once, when the test asks for it at this place."""
    gate = Path(setting("GATE"))
    if setting("HOLD") == place and (gate / "hold").exists() and not (gate / "held").exists():
        (gate / "held").touch()
        while not (gate / "go").exists():  # noqa: ASYNC110  the test has no other way to say it
            await asyncio.sleep(0.01)


def die(step: str, times: int) -> None:
    """End the process here and now at the third time, when the test asks for it at this step."""
    if times == 3 and step == setting("DIE_AT"):
        os.kill(os.getpid(), signal.SIGKILL)


class SteppedDatabase(Database):
    """Dies or stands still around its write, in the commit thread."""

    commits = 0

    def write_committed(self, *arguments: Any) -> None:
        self.commits += 1
        die("before store", self.commits)
        super().write_committed(*arguments)
        die("after store", self.commits)

    def write(self, pairs: Any, note: Any) -> None:
        asyncio.run(hold("before store"))
        super().write(pairs, note)
        asyncio.run(hold("after store"))


class SteppedTable(Table):
    Database = SteppedDatabase


def letter(record: RawRecord, reason: str, error: BaseException) -> Any:
    return setting("LETTERS"), record.key, record.value, [("reason", f"{reason}: {type(error).__name__}".encode())]


def die_of(command: dict[str, Any]) -> None:
    """As compiled code does that writes where it must not: no exception, no clean-up."""
    if str(command["n"]) == setting("DEADLY"):
        os.kill(os.getpid(), signal.SIGKILL)


class SteppedClient(Producer):
    """Dies at a named step of its third transaction, or stands still in an open one."""

    transactions = 0

    def begin_transaction(self) -> None:
        self.transactions += 1
        super().begin_transaction()
        die("before produce", self.transactions)

    def send_offsets_to_transaction(self, *arguments: Any) -> None:
        die("after produce", self.transactions)
        super().send_offsets_to_transaction(*arguments)
        die("after send offsets", self.transactions)

    def commit_transaction(self, *arguments: Any) -> None:
        if setting("DIE_AT") == "after flush" or setting("HOLD") == "transaction":
            self.flush()
        die("after flush", self.transactions)
        asyncio.run(hold("transaction"))
        super().commit_transaction(*arguments)
        die("after commit", self.transactions)


class SteppedApp(App):
    def _new_producer(self) -> Any:
        producer = super()._new_producer()
        producer.make_client = SteppedClient
        return producer


app = SteppedApp(
    setting("APP"),
    broker=f"rdkafka://{setting('BOOTSTRAP')}",
    instance=setting("INSTANCE", "0"),
    batch_records_max=int(setting("RECORDS_MAX", "200")),
    session_timeout_ms=6000,
    transaction_timeout_ms=int(setting("TRANSACTION_TIMEOUT_MS", "10000")),
    store=setting("STORE", "memory://"),
    datadir=setting("DATADIR", "fold-data"),
    Table=SteppedTable,
    group_protocol=setting("PROTOCOL", "classic"),
    web_enabled=False,
    **({"dead_letter": letter} if setting("LETTERS") else {}),
)
table = app.Table("fold")
out = setting("OUT")

if setting("RESTORED"):

    @app.on_partitions_restored
    def note_restored(partitions: set[int]) -> None:
        with Path(setting("RESTORED")).open("a") as place:
            print(app.stats.restore_records, app.stats.restore_s, file=place)


if setting("MODE", "batch") == "batch":

    @app.agent(app.topic(setting("SRC"), schema=BatchSchema()))
    async def fold_batches(batches: Any) -> None:
        async for batch in batches:
            rows = table.partition(batch.partition)
            for key, command in zip(batch.keys, batch.values, strict=True):
                die_of(command)
                row = rows[key.decode()] = fold(rows.get(key.decode()), command)
                app.emit(out, key, orjson.dumps({"n": command["n"], **row}))
            await hold("batch")

else:

    @app.agent(app.topic(setting("SRC"), value_serializer="json", key_serializer="raw"))
    async def fold_records(commands: Any) -> None:
        async for event in commands.events():
            key = event.key.decode()
            row = table[key] = fold(table.get(key), event.value)
            app.emit(out, event.key, orjson.dumps({"n": event.value["n"], **row}))


if setting("TICKS"):
    ticks = app.Table("ticks")

    @app.batch_timer(0.01)
    async def tick() -> None:
        for number in sorted(ticks.partitions_owned()):
            rows = ticks.partition(number)
            rows["count"] = rows.get("count", 0) + 1
            app.emit(setting("TICKS"), b"tick", orjson.dumps(rows["count"]), partition=number)
        await hold("timer")


if __name__ == "__main__":
    raise SystemExit(asyncio.run(run(app)))
