"""Starts what carries: the outbox connectors, the command sinks, the copies; one process each."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from enum import StrEnum
from threading import Event
from typing import Annotated

import structlog
import typer
from prometheus_client import CollectorRegistry

from connectors.commands import CommandSink, SinkConfig, SinkMetrics
from connectors.consuming import ConsumingError
from connectors.copies import CopiesConfig, CopiesMetrics, CopiesSink
from connectors.outbox import Cleaning, Metrics, main_standalone
from connectors.outbox import run as run_outbox
from connectors.outbox.letters import letters_in
from connectors.outbox.of_service import outbox_of
from connectors.outbox_probes import OutboxFigures, OutboxHealth
from connectors.probes import Health, Probes, Questions
from connectors.probing import process_registry, serve
from connectors.stopping import stopped_by_signals
from producers.orders.handler import OrderCommands
from producers.payments.attempts import AttemptRunner
from producers.payments.handler import PaymentCommands
from producers.payments.provider import HttpProvider
from producers.store.connections import PoolSize, open_pool
from producers.two_phase.metrics import TwoPhaseMetrics
from producers.wallets.running import wallet_orders
from schemas import outbox as columns
from schemas.codec import AvroCodec, Codec
from schemas.topics import DEAD_LETTERS, ORDERS_COMMANDS, PAYMENTS_COMMANDS
from tally import logs
from tally.settings import NothingRuns, Settings, SettingsError, WrongSetting

log = structlog.get_logger(__name__)

# Rows and records are short-lived and without cycles: the default threshold would look for some every few hundred.
GC_THRESHOLDS = (100_000, 20, 50)

# One connection listens; results are short transactions between calls that last far longer.
ATTEMPTS_POOL = PoolSize(min=1, max=6)

STANDALONE = "outbox-standalone"

cli = typer.Typer(add_completion=False, no_args_is_help=True)


class Service(StrEnum):
    """Services that have a database with an outbox and take commands from Kafka."""

    ORDERS = "orders"
    PAYMENTS = "payments"


ProbePort = Annotated[int | None, typer.Option(help="port for probes and metrics; any free one without")]
ProbeHost = Annotated[str, typer.Option(help="address for probes and metrics")]
Instance = Annotated[str, typer.Option(help="name of this process in its consumer group; one live process each")]


@cli.command()
def outbox(service: Service, probe_port: ProbePort = None, probe_host: ProbeHost = "127.0.0.1") -> None:
    """The outbox connector of a service: its database's log to Kafka."""
    logs.configure(f"connector-{service}")
    settings = Settings(probe_port=probe_port)
    config = replace(
        outbox_of(service.value, settings.replication_url(service), settings.kafka_bootstrap),
        dead_letter_topic=DEAD_LETTERS,
        dead_letter=letters_in(AvroCodec()),
        cleaning=_cleaning(settings.outbox_keep_s),
    )
    metrics, registry = Metrics(), process_registry()
    registry.register(OutboxFigures(service, metrics))
    with _probes(settings, OutboxHealth(metrics), registry, probe_host):
        code = run_outbox(config, _stop(), metrics)
    raise SystemExit(code)


def _cleaning(keep_s: float) -> Cleaning | None:
    return Cleaning(keep_s, columns.TIMESTAMP_FIELD) if keep_s else None


@cli.command()
def commands(
    service: Service, instance: Instance = "0", probe_port: ProbePort = None, probe_host: ProbeHost = "127.0.0.1"
) -> None:
    """The command sink of a service: Kafka commands to its handler, each counted once."""
    logs.configure(f"sink-{service}")
    settings, registry, health, stop = Settings(probe_port=probe_port), process_registry(), Health(), _stop()
    config = SinkConfig(
        service=service.value,
        topic=ORDERS_COMMANDS if service is Service.ORDERS else PAYMENTS_COMMANDS,
        bootstrap=settings.kafka_bootstrap,
        database_url=settings.database_url(service),
        instance=instance,
    )
    codec = AvroCodec()
    handler = OrderCommands(codec) if service is Service.ORDERS else PaymentCommands(codec)
    beside: AbstractContextManager[None]
    if service is Service.PAYMENTS:
        beside = _attempts(settings, codec)
    else:
        beside = _wallet_orders(settings, codec, registry, f"orders-{instance}")
    with _probes(settings, health, registry, probe_host), beside:
        CommandSink(config, handler, codec, SinkMetrics(registry)).run(stop, health)


@cli.command()
def copies(instance: Instance = "0", probe_port: ProbePort = None, probe_host: ProbeHost = "127.0.0.1") -> None:
    """Copies of the read models in Valkey, from their changelogs."""
    logs.configure("sink-copies")
    settings, registry, health, stop = Settings(probe_port=probe_port), process_registry(), Health(), _stop()
    config = CopiesConfig(settings.kafka_bootstrap, settings.redis_url, instance=instance)
    with _probes(settings, health, registry, probe_host):
        CopiesSink(config, AvroCodec(), CopiesMetrics(registry)).run(stop, health)


@contextmanager
def _attempts(settings: Settings, codec: Codec) -> Iterator[None]:
    """The attempt runner beside the sink of payments: the calls of the provider, which no batch waits for."""
    provider = HttpProvider(settings.payment_provider_url)
    pool = open_pool(settings.payments_database_url, "attempts", ATTEMPTS_POOL)
    runner = AttemptRunner(pool, provider, codec)
    runner.start()
    try:
        yield
    finally:
        runner.stop()
        pool.close()
        provider.close()


def _wallet_orders(
    settings: Settings, codec: Codec, registry: CollectorRegistry, name: str
) -> AbstractContextManager[None]:
    """The two-phase commits of orders that are paid from a wallet, beside the sink of orders."""
    payments_url = settings.values.payments_database_url
    if payments_url is None:
        log.warning("orders paid from a wallet wait: no payments database is set")
        return nullcontext()
    return wallet_orders(settings.orders_database_url, payments_url, name, codec, TwoPhaseMetrics(registry))


@contextmanager
def _probes(settings: Settings, health: Questions, registry: CollectorRegistry, host: str) -> Iterator[None]:
    try:
        server = Probes(health, registry, settings.probe_port, host)
    except OSError as error:
        raise WrongSetting("probe_port", f"cannot listen on {host}:{settings.probe_port}: {error.strerror}") from None
    with server as probes:
        log.info("probes", port=probes.port)
        yield


def _stop() -> Event:
    """Set by SIGTERM and SIGINT."""
    gc.set_threshold(*GC_THRESHOLDS)
    return stopped_by_signals()


def main() -> None:
    """The command line. Exit codes: 0 ended as asked, 1 cannot go on, 2 wrong usage or setting, 4 nothing runs here;

    the outbox connector's own codes stand in `connectors.outbox.errors`.
    """
    if sys.argv[1:2] == [STANDALONE]:
        # As `python -m connectors.alone`, which is up sooner: it knows its flags itself, and no setting of ours.
        raise SystemExit(main_standalone(sys.argv[2:], serve))
    try:
        cli()
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise SystemExit(4 if isinstance(error, NothingRuns) else 2) from None
    except ConsumingError as error:
        log.error("gives up", reason=str(error), error=type(error).__name__)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
