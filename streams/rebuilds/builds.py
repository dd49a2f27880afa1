"""One table version that is being built, and what cannot be served."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from streams.read_models.table_of_tables import ReadModel
from streams.rebuilds.inputs import Inputs


@dataclass(slots=True)
class Build:
    """A table version that is being built; `in_step` tells of each owned partition whether it is, `since` from which
    offset on: it is so for others once that is committed."""

    name: str
    version: int
    table: Any
    model: ReadModel
    in_step: dict[int, bool] = field(default_factory=dict)
    since: dict[int, int] = field(default_factory=dict)
    inputs: Inputs | None = None

    @property
    def key(self) -> str:
        """Of its rows in the table `rebuilds`."""
        return f"{self.name}-v{self.version}"

    def close_inputs(self) -> None:
        """Reads its topic no more; from where it stands when it is to go on."""
        if self.inputs is not None:
            self.inputs.close()
        self.inputs = None


class NotHere(Exception):
    """The version that is to be served was never built in this process."""

    def __init__(self, name: str, version: int) -> None:
        super().__init__(f"version {version} of {name} is not here")
