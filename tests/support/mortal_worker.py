"""A worker that dies where a test says so: before or after a message is sent, committed, or its rows are written."""

from __future__ import annotations

from typing import Annotated, Any

import typer
import uvloop
from confluent_kafka import Producer
from faust_rdkafka.stores.database import Database
from mortal_dying import is_next, reach

from faust_rdkafka import App, Table
from streams.worker.process import WorkerSettings, work
from tally import logs
from tally.settings import Settings

# Types of the messages of the transaction that was committed last; read where its rows are written, in the same thread.
COMMITTED: set[str] = set()


class MortalClient(Producer):
    """librdkafka's producer, with a word at each step."""

    def begin_transaction(self) -> None:
        self.sent: list[str] = []
        super().begin_transaction()

    def produce(self, topic: str, value: Any = None, key: Any = None, *rest: Any, **options: Any) -> None:
        type_ = dict(options.get("headers") or []).get("ce_type", b"").decode()
        reach(f"worker before send {type_}")
        super().produce(topic, value, key, *rest, **options)
        self.sent.append(type_)
        if is_next(f"worker after send {type_}"):
            # It has left this process.
            self.flush()
        reach(f"worker after send {type_}")

    def commit_transaction(self, *arguments: Any) -> None:
        for type_ in self.sent:
            if is_next(f"worker before commit {type_}"):
                self.flush()
            reach(f"worker before commit {type_}")
        super().commit_transaction(*arguments)
        for type_ in self.sent:
            reach(f"worker after commit {type_}")
        COMMITTED.clear()
        COMMITTED.update(self.sent)


class MortalDatabase(Database):
    """The tables on disk."""

    def write_committed(self, *arguments: Any) -> None:
        super().write_committed(*arguments)
        for type_ in sorted(COMMITTED):
            reach(f"worker after write {type_}")


class MortalTable(Table):
    Database = MortalDatabase


class MortalApp(App):
    """The worker's app with both."""

    def __init__(self, id: str, **settings: Any) -> None:
        super().__init__(id, Table=MortalTable, **settings)

    def _new_producer(self) -> Any:
        producer = super()._new_producer()
        producer.make_client = MortalClient
        return producer


def main(port: Annotated[int, typer.Option()], index: Annotated[int, typer.Option()] = 0) -> None:
    logs.configure(f"worker-{index}")
    known = Settings()
    settings = WorkerSettings(known.kafka_bootstrap, index, "127.0.0.1", port, known.data_dir)
    raise SystemExit(uvloop.run(work(settings, make_app=MortalApp)))


if __name__ == "__main__":
    typer.run(main)
