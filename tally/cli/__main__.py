"""The command `tally`: puts the verbs of this folder's modules together."""

from __future__ import annotations

import typer

from tally.cli import (
    audit,
    consume,
    dead_letters,
    demo,
    doctor,
    fsck,
    groups,
    itself,
    orders,
    outbox,
    processes,
    publish,
    rebuilds,
    replay,
    sagas,
    schemas,
    start,
    stock,
    tables,
    topics,
    two_phase,
    wallets,
)
from tally.cli.failures import VerbGroup

# Modules whose verbs stand at the top, in the order of the help.
TOP = (start.app, demo.app, processes.app, publish.app, consume.app, audit.app, fsck.app, doctor.app, itself.app)
# Groups of verbs by name.
GROUPS = {
    "topics": topics.app,
    "schemas": schemas.app,
    "orders": orders.app,
    "stock": stock.app,
    "wallets": wallets.app,
    "tables": tables.app,
    "sagas": sagas.app,
    "replay": replay.app,
    "dead-letters": dead_letters.app,
    "outbox": outbox.app,
    "two-phase": two_phase.app,
    "groups": groups.app,
    "config": itself.config,
}

app = typer.Typer(
    cls=VerbGroup,
    help="Tally: event-sourced orders and inventory on Kafka.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    # A traceback with its local variables shows passwords, and hides what happened.
    pretty_exceptions_enable=False,
)
# Two files, one group: what histories fold to, and what is built from them.
replay.app.add_typer(rebuilds.app)
for module_app in TOP:
    app.add_typer(module_app)
for name, group_app in GROUPS.items():
    app.add_typer(group_app, name=name)


def main() -> None:
    """Entry point of the script `tally`."""
    app(prog_name="tally")


if __name__ == "__main__":
    main()
