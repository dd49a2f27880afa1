"""What the long runs under faults found, a line each, for the end of the session and for the documentation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class SoakTable:
    """Runs are FoldRuns that were checked: what is wrong fails the test, so that the table shows passed ones only."""

    lines: list[str] = field(default_factory=list)

    def add(self, test: str, faults: str, run: Any, took_s: float) -> None:
        found = run.verdict()
        restored = run.restores()
        slowest = f"{max(seconds for _, seconds in restored):.2f}" if restored else "-"
        most = f"{max(records for records, _ in restored)}" if restored else "-"
        title = test.removeprefix("test_").replace("_", " ")
        self.lines.append(
            f"{faults:>28} {found.commands:9,} {found.duplicates:5} {found.lost:5} {found.wrong:5} {most:>9} {slowest:>8}"
            f" {took_s:5.0f}  {title}"
        )

    def text(self) -> str:
        head = f"{'faults':>28} {'commands':>9} {'twice':>5} {'lost':>5} {'wrong':>5} {'restored':>9} {'s at most':>8} {'s':>5}"
        return "\n".join([head, *self.lines, ""])
