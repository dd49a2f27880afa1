"""What an audit says: one document, for people and for scripts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

# A broken invariant repeats itself; the first hundred of one kind say enough.
FINDINGS_PER_CHECK_MAX = 100


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that is not as promised.

    `place` names where (`orders/4711`), `message` what; both stay the same while nothing moves there, so that a
    finding that outlives messages in flight can be told from one that was only early.
    """

    check: str
    place: str
    message: str


@dataclass(frozen=True, slots=True)
class Report:
    """The verdict; `figures` are counts of what was looked at."""

    findings: tuple[Finding, ...] = ()
    figures: dict[str, int | float] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether everything is as promised."""
        return not self.findings

    def to_json(self) -> dict[str, Any]:
        """`{"ok", "findings": [{check, place, message}], "figures"}`."""
        shown: list[dict[str, str]] = []
        count_by_check: dict[str, int] = {}
        for finding in self.findings:
            count = count_by_check[finding.check] = count_by_check.get(finding.check, 0) + 1
            if count <= FINDINGS_PER_CHECK_MAX:
                shown.append({"check": finding.check, "place": finding.place, "message": finding.message})
        figures = {**self.figures, "findings": len(self.findings)}
        return {"ok": self.ok, "findings": shown, "figures": figures}
