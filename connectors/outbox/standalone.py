"""The connector's own command line: any PostgreSQL database that has an outbox table, any Kafka."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import structlog

from connectors.outbox.config import Cleaning, DebeziumPlacement, OutboxConfig, Routing
from connectors.outbox.debezium import Overrides, debezium_config
from connectors.outbox.debezium_file import Options
from connectors.outbox.errors import BadOption
from connectors.outbox.metrics import Metrics
from connectors.outbox.polling.arguments import add_polling, polling_of
from connectors.outbox.refused import plain_letter
from connectors.outbox.run import run
from connectors.stopping import stopped_by_signals
from schemas.outbox_status import status_sql

_TABLE = "public.outbox"
_SLOT = "tally_outbox"
_DEAD_LETTERS = "dead-letters"

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
    stop = stopped_by_signals()
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


class _PrintStatusSql(argparse.Action):
    """Ends at once, as --help does: neither a database nor Kafka is needed."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object, option: str | None = None
    ) -> NoReturn:
        for table in namespace.table or [_TABLE]:
            print(status_sql(table))
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tally connector", description=__doc__, allow_abbrev=False)
    _add_places(parser)
    _add_rules(parser)
    add_polling(parser)
    parser.add_argument(
        "--snapshot", choices=("initial", "no_data"), default=None, help="rows from before the first start (initial)"
    )
    parser.add_argument("--no-create-topics", action="store_true", help="a row for a missing topic is set aside")
    parser.add_argument(
        "--dead-letters",
        default=None,
        metavar="TOPIC",
        help=f"where a row goes that Kafka can never take (default {_DEAD_LETTERS})",
    )
    parser.add_argument(
        "--print-status-sql",
        action=_PrintStatusSql,
        nargs=0,
        help="prints the SQL of the view <table>_status for each --table before it, for the owner to run, and ends",
    )
    parser.add_argument("--no-dead-letters", action="store_true", help="such a row stops the connector instead")
    _add_cleaning(parser)
    parser.add_argument("--forget-position", action="store_true", help="start as for the first time")
    parser.add_argument(
        "--resume",
        choices=("slot", "republish"),
        default=None,
        help="where the start would be refused: go on where the slot is, or send the table again",
    )
    parser.add_argument(
        "--probe-port", type=int, default=None, help="serve /livez, /readyz, /startupz and /metrics on this port"
    )
    parser.add_argument("--probe-host", default="127.0.0.1", help="address for probes (default %(default)s)")
    return parser


def _add_places(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--debezium-config",
        type=Path,
        default=None,
        metavar="FILE",
        help="a Debezium PostgreSQL connector's JSON: its options decide, but for those that are given here",
    )
    parser.add_argument("--source-url", default="", help="PostgreSQL URL; its role needs REPLICATION")
    parser.add_argument("--bootstrap", default="", help="Kafka's host:port[,host:port]")
    parser.add_argument("--table", action="append", default=[], help=f"schema.table; again for more (default {_TABLE})")
    parser.add_argument(
        "--messages",
        default=None,
        metavar="PREFIX",
        help="transactional logical messages of this prefix are rows too; without --table there is no table then",
    )
    parser.add_argument("--slot", default="", help=f"replication slot (default {_SLOT})")
    parser.add_argument("--publication", default="", help="default <slot>_pub")
    parser.add_argument("--connector-name", default="", help="one live process a name (default: the slot's)")


def _add_cleaning(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--clean-after",
        type=float,
        default=None,
        metavar="SECONDS",
        help="take published rows out of the table when they are so old; the role needs DELETE (default: never)",
    )
    parser.add_argument(
        "--clean-by",
        default=None,
        metavar="COLUMN",
        help="timestamp column of a row's age (default: it counts from when this process knew the row to be published)",
    )


def _add_rules(parser: argparse.ArgumentParser) -> None:
    ours = Routing()
    parser.add_argument("--route", default=None, help=f"topic of a row (default {ours.route_replacement})")
    parser.add_argument("--route-by", default=None, help=f"column that names the topic (default {ours.route_by_field})")
    parser.add_argument("--route-regex", default=None, help=f"must match the whole column (default {ours.route_regex})")
    parser.add_argument(
        "--additional",
        action="append",
        default=[],
        metavar="COLUMN:header[:ALIAS]",
        help="further column, also :envelope[:ALIAS] or :partition; again for more",
    )
    parser.add_argument(
        "--timestamp-column", default=None, help="column of the record's timestamp (default: the time of sending)"
    )
    parser.add_argument(
        "--omit-null-headers", action="store_true", help="no header for a null column (Debezium: one with null)"
    )


def _config(arguments: argparse.Namespace) -> OutboxConfig:
    polling = polling_of(arguments)
    config = _from_file(arguments) if arguments.debezium_config is not None else _from_flags(arguments)
    return replace(
        config,
        polling=polling,
        routing=_routing(arguments, config.routing),
        snapshot=arguments.snapshot or config.snapshot,
        create_topics=not arguments.no_create_topics,
        forget_position=arguments.forget_position,
        resume=arguments.resume,
        dead_letter_topic=arguments.dead_letters or _DEAD_LETTERS,
        dead_letter=None if arguments.no_dead_letters else plain_letter,
        cleaning=_cleaning(arguments),
        message_prefix=arguments.messages,
    )


def _cleaning(arguments: argparse.Namespace) -> Cleaning | None:
    if arguments.clean_after is None:
        if arguments.clean_by is not None:
            raise BadOption("--clean-by needs --clean-after")
        return None
    return Cleaning(arguments.clean_after, arguments.clean_by)


def _from_file(arguments: argparse.Namespace) -> OutboxConfig:
    given = Overrides(
        source_url=arguments.source_url,
        bootstrap=arguments.bootstrap,
        tables=tuple(arguments.table),
        slot=arguments.slot,
        publication=arguments.publication,
        name=arguments.connector_name,
    )
    return debezium_config(Options.read(arguments.debezium_config), given)


def _from_flags(arguments: argparse.Namespace) -> OutboxConfig:
    for name in ("source_url", "bootstrap"):
        if not getattr(arguments, name):
            raise BadOption(f"--{name.replace('_', '-')} is missing")
    first, *more = arguments.table or [_TABLE if arguments.messages is None else ""]
    slot = arguments.slot or _SLOT
    return OutboxConfig(
        name=arguments.connector_name or slot,
        source_url=arguments.source_url,
        bootstrap=arguments.bootstrap,
        table=first,
        more_tables=tuple(more),
        slot=slot,
        publication=arguments.publication,
        message_prefix=arguments.messages,
    )


def _routing(arguments: argparse.Namespace, rules: Routing) -> Routing:
    """The rules with what the command line says of them."""
    placements = tuple(one for entry in arguments.additional for one in DebeziumPlacement.parse_list(entry))
    return replace(
        rules,
        placements=placements or rules.placements,
        timestamp_field=arguments.timestamp_column or rules.timestamp_field,
        route_by_field=arguments.route_by or rules.route_by_field,
        route_regex=arguments.route_regex or rules.route_regex,
        route_replacement=arguments.route or rules.route_replacement,
        null_headers=rules.null_headers and not arguments.omit_null_headers,
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
