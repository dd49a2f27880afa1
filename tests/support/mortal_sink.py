"""A command sink that dies where a test says so: before or after a write, a call of the provider, a commit."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from mortal_dying import reach
from prometheus_client import CollectorRegistry

from connectors.commands import CommandSink, SinkConfig, SinkMetrics
from connectors.commands.batch import Batches, Worked
from connectors.commands.handler import CommandHandler, Connection
from connectors.consuming import Record
from connectors.probes import Health, Probes
from connectors.stopping import stopped_by_signals
from producers.orders.handler import OrderCommands
from producers.payments.aggregate import ProviderResult
from producers.payments.attempts import AttemptRunner, RunnerSettings
from producers.payments.handler import PaymentCommands
from producers.payments.provider import HttpProvider
from producers.store.connections import open_pool
from schemas.codec import AvroCodec
from schemas.envelope import Message
from schemas.topics import ORDERS_COMMANDS, PAYMENTS_COMMANDS
from tally import logs
from tally.settings import Settings

CODEC = AvroCodec()


class MortalHandler:
    """Before and after the effects of a command, inside the batch's transaction."""

    def __init__(self, handler: CommandHandler) -> None:
        self._handler = handler

    def handle(self, connection: Connection, command: Message) -> None:
        reach(f"sink before write {command.envelope.type}")
        self._handler.handle(connection, command)
        reach(f"sink after write {command.envelope.type}")


class MortalBatches(Batches):
    """After the commit, before anybody hears of it."""

    def work(self, connection: Connection, expected: Mapping[int, int], records: list[Record]) -> Worked:
        worked = Batches.work(self, connection, expected, records)
        for record in records:
            reach(f"sink after commit {dict(record.headers)['ce_type'].decode()}")
        return worked


class MortalSink(CommandSink):
    def __init__(self, config: SinkConfig, handler: CommandHandler) -> None:
        super().__init__(config, MortalHandler(handler), CODEC, SinkMetrics(CollectorRegistry()))
        batches = self._batches
        self._batches = MortalBatches(batches.config, batches.attempts, batches.letters)


class MortalProvider(HttpProvider):
    """Before and after each call of the provider, and after its result was kept."""

    calling = threading.local()

    def _called(self, name: str, *arguments: Any) -> ProviderResult:
        reach(f"attempt before call {name}")
        result: ProviderResult = getattr(super(), name)(*arguments)
        reach(f"attempt after call {name}")
        self.calling.name = name
        return result

    def authorise(self, key: str, amount_minor: int, currency: str, reference: str) -> ProviderResult:
        return self._called("authorise", key, amount_minor, currency, reference)

    def capture(self, key: str) -> ProviderResult:
        return self._called("capture", key)

    def refund(self, key: str) -> ProviderResult:
        return self._called("refund", key)

    def refund_part(self, key: str, number: int, amount_minor: int) -> ProviderResult:
        return self._called("refund_part", key, number, amount_minor)

    def reached(self, point: str) -> None:
        if point == "kept":
            reach(f"attempt after commit {getattr(self.calling, 'name', '')}")


@contextmanager
def attempts(settings: Settings) -> Iterator[None]:
    provider = MortalProvider(settings.payment_provider_url)
    pool = open_pool(settings.payments_database_url, "attempts")
    runner = AttemptRunner(pool, provider, CODEC, RunnerSettings(reached=provider.reached))
    runner.start()
    yield
    runner.stop()
    pool.close()
    provider.close()


def main(service: str, probe_port: Annotated[int, typer.Option()]) -> None:
    logs.configure(f"sink-{service}")
    settings, health, stop = Settings(probe_port=probe_port), Health(), stopped_by_signals()
    is_orders = service == "orders"
    config = SinkConfig(
        service=service,
        topic=ORDERS_COMMANDS if is_orders else PAYMENTS_COMMANDS,
        bootstrap=settings.kafka_bootstrap,
        database_url=settings.database_url(service),
    )
    with Probes(health, CollectorRegistry(), probe_port, "127.0.0.1"):
        if is_orders:
            MortalSink(config, OrderCommands(CODEC)).run(stop, health)
        else:
            with attempts(settings):
                MortalSink(config, PaymentCommands(CODEC)).run(stop, health)


if __name__ == "__main__":
    typer.run(main)
