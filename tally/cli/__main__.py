"""The command `tally`: which verbs there are, and in which module of this folder each is found when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.main import get_group

from tally.cli.failures import VerbGroup

# Verbs by the module that has them, in the order of the help.
VERBS = {
    "start": ("setup", "dev", "up", "down"),
    "demo": ("demo",),
    "processes": ("api", "worker", "connector", "sink"),
    "publish": ("publish",),
    "consume": ("consume",),
    "audit": ("audit",),
    "fsck": ("fsck",),
    "doctor": ("doctor",),
    "itself": ("version", "completion"),
}
# Groups of verbs by name: each the `app` of the module of that name.
GROUPS = (
    "topics",
    "schemas",
    "orders",
    "stock",
    "wallets",
    "tables",
    "sagas",
    "replay",
    "dead-letters",
    "outbox",
    "two-phase",
    "groups",
    "config",
)
_MODULE_OF = {verb: module for module, verbs in VERBS.items() for verb in verbs}


class AllVerbs(VerbGroup):
    """Loads the module of the verb that is asked for, and all of them only for the help: that takes three times as long."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, in the order of the help."""
        return [*_MODULE_OF, *GROUPS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The verb or the group of this name; None when there is none."""
        if cmd_name in GROUPS:
            group = get_group(import_module(f"tally.cli.{cmd_name.replace('-', '_')}").app)
            group.name = cmd_name
            return group
        if cmd_name in _MODULE_OF:
            return get_group(import_module(f"tally.cli.{_MODULE_OF[cmd_name]}").app).commands[cmd_name]
        return None


app = typer.Typer(
    cls=AllVerbs,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    # A traceback with its local variables shows passwords, and hides what happened.
    pretty_exceptions_enable=False,
)


@app.callback()
def tally() -> None:
    """Tally: event-sourced orders and inventory on Kafka."""


def main() -> None:
    """Entry point of the script `tally`."""
    app(prog_name="tally")


if __name__ == "__main__":
    main()
