"""The plan of a death: a file with one step and how often it is passed before; spent before the process dies of it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

# Where the file lies; set in the environment of the whole system.
PLAN = "MORTAL_PLAN"


class Plan:
    """As tests see it."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def write(self, step: str, passes: int = 0) -> None:
        """Whoever comes to `step` dies there, after it was passed so often."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{passes} {step}")
        new.rename(self._file)

    @property
    def is_spent(self) -> bool:
        """Whether somebody has died of it."""
        return not self._file.exists()

    def withdraw(self) -> None:
        """Nobody dies any more."""
        self._file.unlink(missing_ok=True)


def is_next(step: str) -> bool:
    """Whether this process dies if it goes on to `step` now."""
    try:
        return Path(os.environ[PLAN]).read_text() == f"0 {step}"
    except FileNotFoundError:
        return False


def reach(step: str) -> None:
    """This process is at `step`."""
    try:
        passes, _, named = Path(os.environ[PLAN]).read_text().partition(" ")
    except FileNotFoundError:
        return
    if named != step:
        return
    plan = Plan(Path(os.environ[PLAN]))
    if int(passes):
        plan.write(step, int(passes) - 1)
        return
    # Spent first: the next life passes.
    plan.withdraw()
    os.kill(os.getpid(), signal.SIGKILL)
