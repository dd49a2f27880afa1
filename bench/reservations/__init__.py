"""Reservations: the exactly-once batch agent against Kafka Streams, same records, same broker, in turns.

    python -m bench.reservations [--records N] [--format json|avro|both|tally] [--rounds N] [--store NAME] [--workers N]
                                 [--latency | --steady MINUTES --rate N] [--verify] [--no-peer] [--bootstrap HOST:PORT --broker-pid PID]

Rates count from the start of a contender's process to its last commit; the thirds are those of the same run, and the
last of them is the warm one. `--format tally` is the work with Tally's real messages, which the peer does not do; run it
beside `--format avro --no-peer`, and see `python -m bench headers`. Without Java, Maven or the peer's packages the line of the peer says "peer absent".
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

from bench.reservations.contenders import KafkaStreams, Ours, Task, kafka_streams
from bench.reservations.latency import Latency, latency
from bench.reservations.measure import Figures, Running, measure
from bench.reservations.messages import FORM
from bench.reservations.steady import Load, Minute, creep, steady
from bench.reservations.topics import fill, make
from bench.reservations.verify import differences
from tally.local.kafka import Kafka

# Both contenders measure themselves and not a small broker: more heap and the optimising compiler, as a server has.
BROKER_OPTIONS = ("-Xmx1g", "-XX:TieredStopAtLevel=4", "-XX:ReservedCodeCacheSize=240m")
Contender = Ours | KafkaStreams


@dataclass(frozen=True, slots=True)
class Place:
    """The broker of all runs, and the folder of their data and logs."""

    bootstrap: str
    broker_pid: int | None
    folder: Path


def main(argv: list[str]) -> int:
    options = _parser().parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.bootstrap:
            return _all(Place(options.bootstrap, options.broker_pid, folder), options)
        server = Kafka(folder / "broker", jvm_options=BROKER_OPTIONS)
        server.start()
        try:
            return _all(Place(server.bootstrap, server.pid, folder), options)
        finally:
            server.stop()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench reservations", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records", type=int, default=3_000_000, help="reservations")
    parser.add_argument("--format", choices=["json", "avro", "both", FORM], default="both")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each, in turns")
    parser.add_argument("--store", default="memory", help="what the app's tables are kept in")
    parser.add_argument("--workers", type=int, default=1, help="processes of ours")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--verify", action="store_true", help="compare outcomes and state with a sequential fold")
    parser.add_argument("--latency", action="store_true", help="latency at 1,000 commands/s in place of throughput")
    parser.add_argument("--seconds", type=float, default=30.0, help="of the latency's measured window")
    parser.add_argument("--steady", type=int, metavar="MINUTES", help="a steady rate for so long: does anything creep?")
    parser.add_argument("--rate", type=int, default=5000, help="records a second of --steady")
    parser.add_argument("--peer-setting", action="append", default=[], metavar="NAME=VALUE", help="of Kafka Streams")
    parser.add_argument("--bootstrap", help="a running broker instead of one of its own")
    parser.add_argument("--broker-pid", type=int, help="whose CPU seconds count, with --bootstrap")
    return parser


def _all(place: Place, options: argparse.Namespace) -> int:
    contenders: list[Contender] = [Ours(options.store, options.workers)]
    if not (options.no_peer or options.steady or options.format == FORM):
        build = place.folder / "peer"
        build.mkdir()
        peer = kafka_streams(build, tuple(options.peer_setting))
        if peer is None:
            print("peer absent: Java, Maven or the packages of Kafka Streams are not at hand")
        else:
            contenders.append(peer)
    forms = ["json", "avro"] if options.format == "both" else [options.format]
    if options.format == FORM and (options.latency or options.steady or options.verify):
        raise SystemExit("--latency, --steady and --verify are for json and avro")
    work = _steadies if options.steady else _latencies if options.latency else _throughputs
    return max(work(place, options, contenders, form) for form in forms)


def _throughputs(place: Place, options: argparse.Namespace, contenders: list[Contender], form: str) -> int:
    source = f"bench-{form}-{uuid.uuid4().hex[:8]}"
    make(place.bootstrap, source)
    count = fill(place.bootstrap, source, form, options.records)
    print(f"{count:,} commands, {form}, exactly once; records/s from process start to the last commit")
    print(f"{'':36} {'whole':>9} {'thirds':>25} {'CPU s':>6} {'us/rec':>6} {'MB':>5} {'broker CPU s':>13}")
    found: dict[str, list[Figures]] = {}
    wrong = 0
    for _ in range(options.rounds):
        for one in contenders:
            task = _task(place, source, form)
            running = Running(one.commands(task), place.folder / "contenders.log")
            try:
                figures = measure(running, place.bootstrap, task.app_id, source, count, place.broker_pid)
            except RuntimeError:
                print((place.folder / "contenders.log").read_text(errors="replace")[-3000:], file=sys.stderr)
                raise
            finally:
                running.stop()
            found.setdefault(one.name, []).append(figures)
            _print_figures(one.name, figures)
            if options.verify:
                changelog = f"{task.app_id}-stock-changelog"
                lines = differences(place.bootstrap, source, task.target, changelog, form, options.records)
                print(f"  {'; '.join(lines) or 'one outcome a reservation, outcomes and state equal to the fold'}")
                wrong += len(lines)
    if len(contenders) == 2:
        _print_ratios(found[contenders[0].name], found[contenders[1].name])
    return min(wrong, 1)


def _task(place: Place, source: str, form: str) -> Task:
    app_id = f"reservations-{uuid.uuid4().hex[:8]}"
    target = f"{app_id}-outcomes"
    make(place.bootstrap, target)
    folder = place.folder / app_id
    folder.mkdir()
    return Task(app_id, place.bootstrap, source, target, form, folder)


def _print_figures(name: str, found: Figures) -> None:
    thirds = " ".join(f"{rate:8,.0f}" for rate in found.thirds)
    micros = found.cpu_s / found.records * 1e6
    print(
        f"{name:36} {found.whole:9,.0f} {thirds:>25} {found.cpu_s:6.1f} {micros:6.1f} {found.memory_mb:5.0f}"
        f" {found.broker_cpu_s:13.1f}",
        flush=True,
    )


def _print_ratios(ours: list[Figures], peers: list[Figures]) -> None:
    def best(of: str) -> float:
        pick = max if of in ("whole", "warm") else min
        return float(pick(getattr(f, of) for f in ours)) / max(float(pick(getattr(f, of) for f in peers)), 1e-9)

    names = {"whole": "rate", "warm": "warm third", "cpu_s": "CPU", "memory_mb": "memory", "broker_cpu_s": "broker CPU"}
    print("ours to the peer's, best of each: " + ", ".join(f"{name} {best(of):.2f}" for of, name in names.items()))


def _latencies(place: Place, options: argparse.Namespace, contenders: list[Contender], form: str) -> int:
    print(f"1,000 commands/s, {form}, exactly once, {options.seconds:.0f} s after the warm-up; milliseconds")
    print(f"{'':36} {'p50':>7} {'p90':>7} {'p99':>7} {'p99.9':>7} {'max':>7} {'CPU %':>6} {'broker CPU %':>13}")
    for _ in range(options.rounds):
        for one in contenders:
            source = f"bench-{form}-{uuid.uuid4().hex[:8]}"
            make(place.bootstrap, source)
            task = _task(place, source, form)
            running = Running(one.commands(task), place.folder / "contenders.log")
            try:
                found = latency(running, place.bootstrap, source, task.target, form, options.seconds, place.broker_pid)
            finally:
                running.stop()
            _print_latency(one.name, found, options.seconds)
    return 0


def _print_latency(name: str, found: Latency, seconds: float) -> None:
    print(
        f"{name:36} {found.p50:7.1f} {found.p90:7.1f} {found.p99:7.1f} {found.p999:7.1f} {found.worst:7.1f}"
        f" {found.cpu_s / seconds * 100:6.1f} {found.broker_cpu_s / seconds * 100:13.1f}"
        + (f"  {found.unanswered} unanswered" if found.unanswered else ""),
        flush=True,
    )


def _steadies(place: Place, options: argparse.Namespace, contenders: list[Contender], form: str) -> int:
    source = f"bench-{form}-{uuid.uuid4().hex[:8]}"
    make(place.bootstrap, source)
    task = _task(place, source, form)
    print(f"{options.rate:,} commands/s, {form}, exactly once, for {options.steady} minutes; milliseconds")
    print(
        f"{'minute':>6} {'p50':>7} {'p99':>7} {'p99.9':>7} {'max':>7} {'MB':>5} {'CPU %':>6} {'broker MB, CPU %':>17}"
    )
    running = Running(contenders[0].commands(task), place.folder / "contenders.log")
    load = Load(place.bootstrap, source, task.target, form, options.steady, options.rate, place.broker_pid)
    try:
        found = creep(steady(running, load, _print_minute))
    finally:
        running.stop()
    if found is not None:
        print(
            f"the last {found.minutes} minutes to the first {found.minutes} after the warm-up: p99 {found.last_p99:.1f}"
            f" to {found.first_p99:.1f} ms = {found.last_p99 / found.first_p99:.2f}, memory {found.last_mb:.0f} to"
            f" {found.first_mb:.0f} MB = {found.last_mb / found.first_mb:.2f}"
        )
    return 0


def _print_minute(number: int, found: Minute) -> None:
    shares = " ".join(f"{found.took.share(share):7.1f}" for share in (0.5, 0.99, 0.999))
    print(
        f"{number:6} {shares} {found.took.worst():7.1f} {found.worker_mb:5.0f} {found.worker_cpu:6.1f}"
        f" {found.broker_mb:10.0f} {found.broker_cpu:6.1f}",
        flush=True,
    )
