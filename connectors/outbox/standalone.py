"""The connector's own command line: any PostgreSQL database that has an outbox table, any Kafka."""

from __future__ import annotations

import argparse
import gc
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import structlog

from connectors.outbox.config import DebeziumPlacement, OutboxConfig, Routing
from connectors.outbox.errors import BadOption
from connectors.outbox.metrics import Metrics
from connectors.outbox.run import run

# Serves probes and metrics of a connector's figures while entered; takes its name, a host and a port. Raises OSError.
Serve = Callable[[Metrics, str, str, int], AbstractContextManager[object]]


def main_standalone(argv: Sequence[str], serve: Serve | None = None) -> int:
    """Parses, runs in the foreground until SIGTERM or SIGINT, gives the exit code."""
    arguments = _parser().parse_args(argv)
    _log_json_lines()
    try:
        config = _config(arguments)
    except BadOption as error:
        print(f"outbox connector: {error}", file=sys.stderr)
        return 2
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    # Rows are short-lived and without cycles: the default threshold would look for some every few hundred rows.
    gc.set_threshold(100_000, 20, 50)
    metrics, port = Metrics(), arguments.probe_port
    probes: AbstractContextManager[object] = nullcontext()
    if serve is not None and port is not None:
        try:
            probes = serve(metrics, config.name, arguments.probe_host, port)
        except OSError as error:
            print(f"outbox connector: --probe-port {port}: {error.strerror}", file=sys.stderr)
            return 2
    with probes:
        return run(config, stop, metrics)


def config_of(argv: Sequence[str]) -> OutboxConfig:
    """What the command line asks for. Raises BadOption; wrong usage ends the process with code 2."""
    return _config(_parser().parse_args(argv))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tally connector", description=__doc__, allow_abbrev=False)
    parser.add_argument("--source-url", required=True, help="PostgreSQL URL; its role needs REPLICATION")
    parser.add_argument("--bootstrap", required=True, help="Kafka's host:port[,host:port]")
    parser.add_argument("--table", default="public.outbox", help="schema.table (default %(default)s)")
    parser.add_argument("--slot", default="tally_outbox", help="replication slot (default %(default)s)")
    parser.add_argument("--publication", default="", help="default <slot>_pub")
    parser.add_argument("--connector-name", default="", help="one live process a name (default: the slot's)")
    parser.add_argument("--route", default=Routing().route_replacement, help="topic of a row (default %(default)s)")
    parser.add_argument(
        "--route-by", default=Routing().route_by_field, help="column that names the topic (default %(default)s)"
    )
    parser.add_argument(
        "--route-regex", default=Routing().route_regex, help="must match the whole column (default %(default)s)"
    )
    parser.add_argument(
        "--additional",
        action="append",
        default=[],
        metavar="COLUMN:header[:ALIAS]",
        help="further column; again for more",
    )
    parser.add_argument(
        "--timestamp-column", default=None, help="column of the record's timestamp (default: the time of sending)"
    )
    parser.add_argument(
        "--omit-null-headers", action="store_true", help="no header for a null column (Debezium: one with null)"
    )
    parser.add_argument(
        "--snapshot", choices=("initial", "no_data"), default="initial", help="rows from before the first start"
    )
    parser.add_argument("--no-create-topics", action="store_true", help="a row for a missing topic stops the connector")
    parser.add_argument("--forget-position", action="store_true", help="start as for the first time")
    parser.add_argument(
        "--probe-port", type=int, default=None, help="serve /livez, /readyz, /startupz and /metrics on this port"
    )
    parser.add_argument("--probe-host", default="127.0.0.1", help="address for probes (default %(default)s)")
    parser.add_argument(
        "--resume",
        choices=("slot", "republish"),
        default=None,
        help="where the start would be refused: go on where the slot is, or send the table again",
    )
    parser.add_argument("--debezium-config", default=None, metavar="FILE", help=argparse.SUPPRESS)
    return parser


def _config(arguments: argparse.Namespace) -> OutboxConfig:
    if arguments.debezium_config is not None:
        raise BadOption("--debezium-config is not supported by this version; give --table, --route and --additional")
    placements = [placement for entry in arguments.additional for placement in DebeziumPlacement.parse_list(entry)]
    routing = Routing(
        placements=tuple(placements),
        timestamp_field=arguments.timestamp_column,
        route_by_field=arguments.route_by,
        route_regex=arguments.route_regex,
        route_replacement=arguments.route,
        null_headers=not arguments.omit_null_headers,
    )
    return OutboxConfig(
        name=arguments.connector_name or arguments.slot,
        source_url=arguments.source_url,
        bootstrap=arguments.bootstrap,
        table=arguments.table,
        slot=arguments.slot,
        publication=arguments.publication,
        routing=routing,
        snapshot=arguments.snapshot,
        create_topics=not arguments.no_create_topics,
        forget_position=arguments.forget_position,
        resume=arguments.resume,
    )


def _log_json_lines() -> None:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
