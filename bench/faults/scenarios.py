"""The faults: what is done to the workers of a trial, the same to each transport."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable

from bench.faults.trial import Trial
from bench.faults.worker import RAISES_AT, SESSION_S

AHEAD = 1500  # commands that wait when a worker starts
PROGRESS_WITHIN_S = 60.0
END_WITHIN_S = 60.0
KILL_WITHIN_S = 0.5  # after the first progress
ASLEEP_S = SESSION_S + 2.0
FIRST, SECOND = "0", "1"


def kills(trial: Trial, times: int, chance: random.Random) -> None:
    """kill -9 at a random moment after some progress, and a new start."""
    for _ in range(times):
        _keep_ahead(trial)
        before = trial.done()
        trial.start(FIRST)
        trial.until(lambda before=before: trial.done() > before, PROGRESS_WITHIN_S)
        time.sleep(chance.uniform(0, KILL_WITHIN_S))
        trial.kill(FIRST)
    trial.start(FIRST)


def comings_and_goings(trial: Trial, times: int, chance: random.Random) -> None:
    """A second worker joins, works for a while and leaves, in turns by SIGTERM and by kill -9."""
    trial.send(AHEAD)
    trial.start(FIRST)
    trial.until(lambda: trial.done() > 0, PROGRESS_WITHIN_S)
    for number in range(times):
        trial.start(SECOND)
        _keep_ahead(trial)
        before = trial.done()
        trial.until(lambda before=before: trial.done() > before + AHEAD // 2, PROGRESS_WITHIN_S)
        time.sleep(chance.uniform(0, KILL_WITHIN_S))
        (trial.kill if number % 2 else trial.stop)(SECOND)
        _keep_ahead(trial)


def zombies(trial: Trial, times: int, chance: random.Random) -> None:
    """A worker sleeps (SIGSTOP) beyond its session with work in hand, another takes over, the first wakes (SIGCONT)."""
    trial.send(AHEAD)
    running = {FIRST: trial.start(FIRST), SECOND: trial.start(SECOND)}
    trial.until(lambda: trial.done() > 0, PROGRESS_WITHIN_S)
    for number in range(times):
        _keep_ahead(trial)
        before = trial.done()
        trial.until(lambda before=before: trial.done() > before, PROGRESS_WITHIN_S)
        time.sleep(chance.uniform(0, KILL_WITHIN_S))
        zombie = running[(FIRST, SECOND)[number % 2]]
        if zombie.poll() is None:
            zombie.send_signal(signal.SIGSTOP)
            time.sleep(ASLEEP_S)  # the fault itself
            zombie.send_signal(signal.SIGCONT)
        trial.until(lambda: False, 1.0)  # it may end now, and is started again
        running = dict(trial.running)


def an_agent_that_raises(trial: Trial, times: int, chance: random.Random) -> None:
    """At some commands the agent raises, at the first reading only. No process is killed."""
    trial.start(FIRST)
    for _ in range(times):
        trial.send(AHEAD // 5)
        (trial.folder / RAISES_AT).write_text(str(trial.count - 1 - chance.randrange(100)))
        trial.until(lambda: not (trial.folder / RAISES_AT).exists(), PROGRESS_WITHIN_S)


def _keep_ahead(trial: Trial) -> None:
    if trial.count - trial.done() < AHEAD:
        trial.send(AHEAD)


Scenario = Callable[[Trial, int, random.Random], None]

# Name on the command line -> the fault, and how often it happens by default.
SCENARIOS: dict[str, tuple[Scenario, int]] = {
    "kills": (kills, 10),
    "joins": (comings_and_goings, 6),
    "zombies": (zombies, 4),
    "raises": (an_agent_that_raises, 5),
}
