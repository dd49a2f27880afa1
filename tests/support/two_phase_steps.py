"""The steps of a two-phase commit at which something dies or stalls; and the table of what came of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

NAMES = ("orders", "payments")

COMMIT_STEPS = (
    "before vote",
    *(f"{moment} {name}" for name in NAMES for moment in ("before marker", "before prepare", "after prepare")),
    "before decision",
    "after decision",
    *(f"{moment} {name}" for name in NAMES for moment in ("before commit", "after commit")),
    "before forget",
    "after forget",
)
# Payments cannot prepare.
ABORT_STEPS = tuple(f"{moment} {name}" for name in NAMES for moment in ("before abort", "after abort"))
# From the decision on, what was begun ends as a commit.
COMMITTED = frozenset(COMMIT_STEPS[COMMIT_STEPS.index("after decision") :])


def cases(steps: tuple[str, ...], sample: frozenset[str]) -> list[object]:
    """Steps as parameters of a test; those outside the sample are slow."""
    return [
        pytest.param(step, marks=() if step in sample else pytest.mark.slow, id=step.replace(" ", "-"))
        for step in steps
    ]


@dataclass
class Matrix:
    """What came of each fault at each step."""

    cells: dict[tuple[str, str], str] = field(default_factory=dict)

    def note(self, step: str, fault: str, outcome: str) -> None:
        """Fills a cell."""
        self.cells[step, fault] = outcome

    def lines(self) -> Iterator[str]:
        """The table, in Markdown: a row for each step, a column for each fault."""
        steps = list(dict.fromkeys(step for step, _ in self.cells))
        faults = list(dict.fromkeys(fault for _, fault in self.cells))
        yield f"| step | {' | '.join(faults)} |"
        yield f"|{'---|' * (len(faults) + 1)}"
        for step in steps:
            yield f"| {step} | {' | '.join(self.cells.get((step, fault), '') for fault in faults)} |"


_KEY = pytest.StashKey[Matrix]()


@pytest.fixture(scope="session")
def matrix(pytestconfig: pytest.Config) -> Matrix:
    """The table of this session; printed at its end."""
    return pytestconfig.stash.setdefault(_KEY, Matrix())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Prints the table once, whichever folder's conftest asks first."""
    found = config.stash.get(_KEY, None)
    if found is not None and found.cells:
        terminalreporter.section("crash matrix of two-phase commit")
        for line in found.lines():
            terminalreporter.write_line(line)
        del config.stash[_KEY]
