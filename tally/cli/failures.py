"""How a verb fails: one line on stderr and an exit code that scripts can tell apart.

Failure
├── WrongUsage      exit code 2: the command line asks for what cannot be
├── NotFound        exit code 3: what was asked for is not there
├── OutOfReach      exit code 4: a server does not answer
└── CheckFailed     exit code 5: a check said no, its findings are on stdout; or an event that was to be read is damaged
"""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from tally.local.errors import LocalError
from tally.settings import NothingRuns, SettingsError

FAILED, USAGE, NOT_FOUND, OUT_OF_REACH, CHECK_SAID_NO, INTERRUPTED = 1, 2, 3, 4, 5, 130


class Failure(Exception):
    """A verb that could not do what it was asked; the message is one line for people."""

    exit_code = FAILED


class WrongUsage(Failure):
    """The command line asks for what cannot be."""

    exit_code = USAGE


class NotFound(Failure):
    """What was asked for is not there."""

    exit_code = NOT_FOUND


class OutOfReach(Failure):
    """A server does not answer."""

    exit_code = OUT_OF_REACH


class CheckFailed(Failure):
    """A check said no, or an event that was to be read is damaged."""

    exit_code = CHECK_SAID_NO


class VerbGroup(TyperGroup):
    """A group of verbs that ends in our exit codes, never in a traceback for what is expected to go wrong."""

    def invoke(self, ctx: Any) -> Any:
        """Runs a verb of the group."""
        try:
            return super().invoke(ctx)
        except Failure as failure:
            raise stop(str(failure), failure.exit_code) from None
        except NothingRuns as error:
            raise stop(str(error), OUT_OF_REACH) from None
        except SettingsError as error:
            raise stop(str(error), USAGE) from None
        except LocalError as error:
            raise stop(str(error), OUT_OF_REACH) from None


def stop(line: str, exit_code: int) -> typer.Exit:
    """Says `line` on stderr; the caller raises what is returned."""
    if line:
        typer.echo(line, err=True)
    return typer.Exit(exit_code)


def group(help_text: str) -> typer.Typer:
    """A group of verbs; without a verb it shows its help."""
    return typer.Typer(cls=VerbGroup, help=help_text, no_args_is_help=True, rich_markup_mode=None)
