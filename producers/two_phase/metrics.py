"""What recovery shows: what is prepared where and for how long, what it pins and blocks, and damage not dismissed."""

from __future__ import annotations

from collections import Counter as Count
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge

from producers.two_phase.inspecting import MB, Held
from producers.two_phase.recovery import Pass

# A transaction is prepared for milliseconds; only one that stays has a line of its own, or each would make one.
SHOWN_AFTER_S = 1.0


class TwoPhaseMetrics:
    """Figures of one recovery, in `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:

        def gauge(name: str, says: str, *labels: str) -> Gauge:
            return Gauge(f"tally_two_phase_{name}", says, labels, registry=registry)

        self.prepared = gauge("prepared", "Prepared transactions", "participant")
        self.oldest = gauge("oldest_seconds", "Age of the oldest prepared transaction", "participant")
        self.age = gauge("age_seconds", "Age of one that stays prepared", "participant", "gid")
        self.pinned = gauge(
            "pinned_bytes", "Log that slots of its server hold back while something is prepared", "participant"
        )
        self.waiting = gauge("sessions_waiting", "Sessions that wait for rows of prepared transactions", "participant")
        self.holds = gauge("holds", "Prepared transactions that hold rows of a table", "participant", "table")
        self.blocks_slots = gauge(
            "blocks_slots", "1 while something is prepared: no logical slot can be created", "participant"
        )
        self.out_of_reach = gauge(
            "out_of_reach", "1 while a participant does not answer: its other figures are old", "participant"
        )
        self.damaged = gauge("damaged", "Heuristic damage not dismissed")
        self.settled = Counter("tally_two_phase_settled", "Settled by recovery", ["outcome"], registry=registry)

    def show(self, found: Pass) -> None:
        """After each pass; a participant out of reach keeps its last figures."""
        for name in found.prepared.keys() | set(found.out_of_reach):
            self.out_of_reach.labels(name).set(name in found.out_of_reach)
        for name, prepared in found.prepared.items():
            self.prepared.labels(name).set(len(prepared))
            self.oldest.labels(name).set(max((each.age_s for each in prepared), default=0.0))
        for outcome in found.settled.values():
            self.settled.labels(outcome.value).inc()
        self.damaged.set(found.damaged)

    def show_held(self, held: Mapping[str, list[Held]]) -> None:
        """All that is prepared at each participant that answered, strangers' too."""
        # One that did not answer shows no single transaction: its age would stand still.
        self.age.clear()
        self.holds.clear()
        for name, found in held.items():
            for each in found:
                if each.age_s >= SHOWN_AFTER_S:
                    self.age.labels(name, each.gid).set(each.age_s)
            for table, count in Count(table for each in found for table in each.tables).items():
                self.holds.labels(name, table).set(count)
            self.pinned.labels(name).set(max((each.pinned_mb for each in found), default=0.0) * MB)
            self.waiting.labels(name).set(max((each.sessions_waiting for each in found), default=0))
            self.blocks_slots.labels(name).set(bool(found))
