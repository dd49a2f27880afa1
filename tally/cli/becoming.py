"""How a verb becomes the process that it names; loads nothing, as what is loaded before counts to that process's start."""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def become(module: str, *arguments: str) -> NoReturn:
    """Replace this process: signals and exit codes are then the process' own."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])


def become_connector(*arguments: str) -> NoReturn:
    """The connector of a service of ours by its name; with flags first, the one that runs alone."""
    if arguments[0].startswith("-"):
        become("connectors.alone", *arguments)
    become("connectors", "outbox", *arguments)
