"""One table version that is being built, and what cannot be served."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from streams.read_models.table_of_tables import ReadModel
from streams.rebuilds.ahead import Ahead
from streams.rebuilds.folding import Checked, Folded, fold
from streams.rebuilds.inputs import PIECES_UNCOMMITTED_MAX, Inputs, Place


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

    def fold(self, partition: int, messages: Sequence[Any]) -> Folded:
        """Folds into the rows of the running batch."""
        return fold(self.model, Checked(self.table.partition(partition)), messages)

    def places(self, starts: dict[int, int], live: Callable[[int], int | None]) -> dict[int, Place]:
        """Where each partition in `starts` is read on (next offset), to be folded up to `live`."""
        return {partition: self._place(partition, start, live) for partition, start in starts.items()}

    def _place(self, partition: int, start: int, live: Callable[[int], int | None]) -> Place:
        table, committed = self.table, partial(self.table.committed_bytes, partition)
        rows = Ahead(table.key_codec, table.value_codec, committed, PIECES_UNCOMMITTED_MAX)
        return Place(start, rows, partial(live, partition))

    def close_inputs(self) -> None:
        """Reads its topic no more; from where it stands when it is to go on."""
        if self.inputs is not None:
            self.inputs.close()
        self.inputs = None


class NotHere(Exception):
    """The version that is to be served was never built in this process."""

    def __init__(self, name: str, version: int) -> None:
        super().__init__(f"version {version} of {name} is not here")
