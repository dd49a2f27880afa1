"""After each pass of recovery: the figures of all that is prepared, strangers' too, and an alarm for what stays."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg
import structlog

from producers.two_phase.asking import Asked
from producers.two_phase.inspecting import Held
from producers.two_phase.metrics import TwoPhaseMetrics
from producers.two_phase.postgres import PostgresParticipant
from producers.two_phase.recovery import Bounds, Pass

log = structlog.get_logger(__name__)


class Watch:
    """Called with each pass; asks the participants that answered recovery, each within the bound of a question."""

    def __init__(
        self, participants: Mapping[str, PostgresParticipant], metrics: TwoPhaseMetrics, bounds: Bounds | None = None
    ) -> None:
        self._participants, self._metrics, self._bounds = participants, metrics, bounds or Bounds()
        self._asked = {name: Asked(name, self._bounds.answer_within_s) for name in participants}

    def __call__(self, found: Pass) -> None:
        """Shows and alarms."""
        held: dict[str, list[Held]] = {}
        for name in found.prepared:
            try:
                held[name] = self._asked[name].ask(self._participants[name].held)
            except psycopg.OperationalError as error:
                log.warning("out of reach", participant=name, error=type(error).__name__)
                found.out_of_reach.append(name)
        self._metrics.show(found)
        self._metrics.show_held(held)
        for name, each in ((name, each) for name, all_ in held.items() for each in all_):
            self._alarm(name, each)

    def _alarm(self, name: str, held: Held) -> None:
        # Recovery tells of ours; a stranger's it does not touch, and it pins and blocks as much.
        if held.identifier is None and held.age_s >= self._bounds.alarm_after_s:
            log.error(
                "a stranger's transaction is prepared for too long", participant=name, gid=held.gid, told=held.told
            )
