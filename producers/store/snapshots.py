"""Snapshots: an aggregate's state as JSON with a version of its form, and the steps from older forms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

S = TypeVar("S")
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SnapshotForm(Generic[S]):
    """How a state is kept. `upcasters[n]` turns form n into form n + 1; one small function a step."""

    version: int
    to_json: Callable[[S], Json]
    from_json: Callable[[Json], S]
    upcasters: Mapping[int, Callable[[Json], Json]] = field(default_factory=dict)

    def load(self, snapshot: Json, version: int) -> S:
        """The state of a snapshot of form `version`. Raises LookupError for a form that no step leads on from."""
        if version > self.version:
            raise LookupError(f"a snapshot of form {version} is newer than this code's {self.version}")
        for step in range(version, self.version):
            if step not in self.upcasters:
                raise LookupError(f"no step leads from snapshot form {step} to {step + 1}")
            snapshot = self.upcasters[step](snapshot)
        return self.from_json(snapshot)
