"""What recovery shows: what is prepared where and for how long, and damage that nobody has dismissed."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from producers.two_phase.recovery import Pass


class TwoPhaseMetrics:
    """Figures of one recovery, in `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.prepared = Gauge("tally_two_phase_prepared", "Prepared transactions", ["participant"], registry=registry)
        self.oldest = Gauge(
            "tally_two_phase_oldest_seconds",
            "Age of the oldest prepared transaction",
            ["participant"],
            registry=registry,
        )
        self.damaged = Gauge("tally_two_phase_damaged", "Heuristic damage not dismissed", registry=registry)
        self.settled = Counter("tally_two_phase_settled", "Settled by recovery", ["outcome"], registry=registry)

    def show(self, found: Pass) -> None:
        """After each pass; a participant out of reach keeps its last figures."""
        for name, prepared in found.prepared.items():
            self.prepared.labels(name).set(len(prepared))
            self.oldest.labels(name).set(max((each.age_s for each in prepared), default=0.0))
        for outcome in found.settled.values():
            self.settled.labels(outcome.value).inc()
        self.damaged.set(found.damaged)
