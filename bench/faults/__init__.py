"""This transport and Faust's own under the same faults: what a read_committed reader finds in the end.

    python -m bench.faults [--kind rdkafka|at-least-once|exactly-once] [--scenario NAME] [--times N] [--seed N]
                           [--bootstrap HOST:PORT]

All kinds and scenarios without options, some ten minutes. The agent's code is the same for each, a record at a time.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

from bench.faults.scenarios import END_WITHIN_S, SCENARIOS
from bench.faults.trial import Trial, Verdict
from bench.faults.worker import OURS, STOCK
from tally.local.kafka import Kafka

TITLES = {OURS: "rdkafka://", "at-least-once": "stock at_least_once", "exactly-once": "stock exactly_once"}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench faults", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kind", choices=[OURS, *STOCK], action="append")
    parser.add_argument("--scenario", choices=list(SCENARIOS), action="append")
    parser.add_argument("--times", type=int, help="how often the fault happens")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--bootstrap", help="a running broker instead of one of its own")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        if options.bootstrap:
            return _all(options.bootstrap, Path(name), options)
        server = Kafka(Path(name))
        server.start()
        server.make_internal_topics()
        try:
            return _all(server.bootstrap, Path(name), options)
        finally:
            server.stop()


def _all(bootstrap: str, folder: Path, options: argparse.Namespace) -> int:
    """1 when ours was wrong: that stock Faust is, is the subject."""
    print(f"{'':10} {'':20} {'times':>5} {'commands':>9} {'twice':>6} {'lost':>5} {'wrong':>6} {'rows':>5} {'s':>5}")
    wrong = 0
    for scenario in options.scenario or SCENARIOS:
        for kind in options.kind or [OURS, *STOCK]:
            trial = Trial(kind, bootstrap, folder)
            fault, usual = SCENARIOS[scenario]
            times = options.times or usual
            began = time.monotonic()
            try:
                fault(trial, times, random.Random(options.seed))
                came = trial.until(trial.finished, END_WITHIN_S)
            finally:
                trial.end()
            found = trial.verdict()
            wrong += kind == OURS and not (found.right and came)
            _print(scenario, kind, times, found, time.monotonic() - began)
            if not came:
                print(f"{'':10} {trial.count - found.commands} commands were not committed within {END_WITHIN_S:.0f} s")
    return min(wrong, 1)


def _print(scenario: str, kind: str, times: int, found: Verdict, took_s: float) -> None:
    print(
        f"{scenario:10} {TITLES[kind]:20} {times:5} {found.commands:9,} {found.duplicates:6} {found.lost:5}"
        f" {found.wrong:6} {found.rows:5} {took_s:5.0f}",
        flush=True,
    )
