"""The connector's own command line: any PostgreSQL database that has an outbox table, any Kafka."""

from __future__ import annotations

import argparse
import gc
import signal
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

import structlog

from connectors.outbox.config import DebeziumPlacement, OutboxConfig, Routing
from connectors.outbox.errors import BadOption
from connectors.outbox.refused import plain_letter
from connectors.outbox.run import run
from schemas.outbox_status import status_sql


def main_standalone(argv: Sequence[str]) -> int:
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
    return run(config, stop)


class _PrintStatusSql(argparse.Action):
    """Ends at once, as --help does: neither a database nor Kafka is needed."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object, option: str | None = None
    ) -> NoReturn:
        print(status_sql(namespace.table))
        parser.exit()


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
    parser.add_argument(
        "--dead-letters",
        default=None,
        metavar="TOPIC",
        help="topic of rows that kafka refuses; their aggregates wait, others go on (without: such a row stops the connector)",
    )
    parser.add_argument(
        "--print-status-sql",
        action=_PrintStatusSql,
        nargs=0,
        help="prints the SQL of the view <table>_status for the --table before it, for the table's owner to run, and ends",
    )
    parser.add_argument("--forget-position", action="store_true", help="start as for the first time")
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
        dead_letter_topic=arguments.dead_letters or "dead-letters",
        dead_letter=None if arguments.dead_letters is None else plain_letter,
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
