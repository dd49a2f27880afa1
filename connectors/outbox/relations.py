"""The relations that the stream has described: which of them are outboxes, and how their rows begin."""

from __future__ import annotations

from connectors.outbox.errors import MalformedStream
from connectors.outbox.outboxes import Outboxes
from connectors.outbox.pgoutput import Relation
from connectors.outbox.rows import row_head
from connectors.outbox.sender import Table


class Relations:
    """Of one stream. One look into `tables` finds whose row it is, and that its form is as described."""

    def __init__(self, outboxes: Outboxes) -> None:
        self._outboxes = outboxes
        # How a relation's rows begin; None: it is no outbox.
        self._heads: dict[int, bytes | None] = {}
        self.tables: dict[bytes, Table] = {}

    def describe(self, relation: Relation) -> None:
        """Perhaps anew: then rows of the old form are none any more."""
        if (known := self._heads.get(relation.oid)) is not None:
            del self.tables[known]
        route, head = self._outboxes.route(relation), row_head(relation)
        self._heads[relation.oid] = None if route is None else head
        if route is not None:
            self.tables[head] = Table.of(route)

    def is_outbox(self, oid: int) -> bool:
        """Whether it was described, and is one."""
        return self._heads.get(oid) is not None

    def demand_no_outbox(self, oid: int) -> None:
        """For a row that `tables` does not know. Raises MalformedStream."""
        if oid not in self._heads:
            raise MalformedStream(f"a row of relation {oid}, which was not described")
        if self._heads[oid] is not None:
            raise MalformedStream(f"a row of relation {oid} that is not of the form that was described")
