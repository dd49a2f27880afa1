"""The command line's options of polling."""

from __future__ import annotations

import argparse
from typing import NoReturn

from connectors.outbox.errors import BadOption
from connectors.outbox.polling.columns import polling_sql
from connectors.outbox.polling.options import Polling

_DEFAULT_TABLE = "public.outbox"
# What these ask for is of the log; the value is what stands for "not given".
_OF_THE_LOG = {"slot": "", "publication": "", "snapshot": None, "resume": None, "forget_position": False}
_OF_POLLING = ("order_column", "status_column", "poll_every_ms")


class _PrintPollingSql(argparse.Action):
    """Ends at once, as --help does: neither a database nor Kafka is needed."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object, option: str | None = None
    ) -> NoReturn:
        for table in namespace.table or [_DEFAULT_TABLE]:
            print(polling_sql(table, _given(namespace)))
        parser.exit()


def add_polling(parser: argparse.ArgumentParser) -> None:
    """The flags, in a group of their own."""
    ours = Polling()
    group = parser.add_argument_group("polling, for databases without logical replication")
    group.add_argument("--polling", action="store_true", help="ask the tables instead of reading the log")
    group.add_argument(
        "--order-column", default=None, help=f"number that each insert draws (default {ours.order_column})"
    )
    group.add_argument(
        "--status-column", default=None, help=f"PENDING, PUBLISHED or FAILED (default {ours.status_column})"
    )
    group.add_argument(
        "--poll-every-ms", type=float, default=None, help=f"while there is nothing to do (default {ours.rest_ms:.0f})"
    )
    group.add_argument(
        "--print-polling-sql",
        action=_PrintPollingSql,
        nargs=0,
        help="prints the SQL that adds the columns to each --table before it, for the owner to run, and ends",
    )


def polling_of(arguments: argparse.Namespace) -> Polling | None:
    """None without --polling. Raises BadOption for options that do not go together."""
    if not arguments.polling:
        for name in _OF_POLLING:
            if getattr(arguments, name) is not None:
                raise BadOption(f"{_flag(name)} goes with --polling")
        return None
    for name, absent in _OF_THE_LOG.items():
        if getattr(arguments, name) != absent:
            raise BadOption(f"{_flag(name)} does not go with --polling, which reads no log")
    return _given(arguments)


def _given(arguments: argparse.Namespace) -> Polling:
    ours = Polling()
    return Polling(
        order_column=arguments.order_column or ours.order_column,
        status_column=arguments.status_column or ours.status_column,
        rest_ms=ours.rest_ms if arguments.poll_every_ms is None else arguments.poll_every_ms,
    )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
