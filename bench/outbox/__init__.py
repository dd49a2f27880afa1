"""The outbox connector beside a polling relay: backlog, latency, CPU, memory, and the time back after faults.

    python -m bench.outbox [SECTION…] [--rows N] [--seconds N] [--rounds N]
                           [--contenders KIND…]

Sections: backlog-1, backlog-10, backlog-100 (rows a transaction), latency, idle, million, start, kill, walsender; all of
them without a name. Each takes its turns with the peer in one run and by itself less than four minutes.
Servers are those that TALLY_KAFKA_BOOTSTRAP and TALLY_TEST_POSTGRES_URL name, else its own. Each carrier is a process with
a database and a topic of its own on them; "warm" means that it is up, frozen while the rows are written, and continued.
Rows carry 240 bytes of payload.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from bench.outbox import sections
from bench.outbox.carriers import Carrier, Connector, Polling, Relay
from bench.outbox.debezium import Debezium, debezium_jars
from bench.outbox.sections import Scale
from bench.reservations import BROKER_OPTIONS
from bench.servers import servers
from tally.local.databases import PostgresHost

WARM_UP_ROWS = 20_000

Section = Callable[[Connector, Sequence[Carrier], Scale], None]
SECTIONS: dict[str, Section] = {
    "backlog-1": lambda _, all_, scale: sections.backlog(all_, scale, 1),
    "backlog-10": lambda _, all_, scale: sections.backlog(all_, scale, 10),
    "backlog-100": lambda _, all_, scale: sections.backlog(all_, scale, 100),
    "latency": lambda _, all_, scale: sections.latency(all_, scale),
    "idle": lambda _, all_, scale: sections.idle(all_),
    "million": lambda ours, _, scale: sections.million(ours),
    "start": lambda ours, _, scale: sections.start(ours, scale),
    "kill": lambda ours, _, scale: sections.kill(ours, scale),
    "walsender": lambda ours, _, scale: sections.walsender(ours, scale),
}


def _debezium(bootstrap: str, host: PostgresHost, stack: ExitStack) -> Carrier | None:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tally-debezium-")))
    jars = debezium_jars(folder)
    return None if jars is None else Debezium(bootstrap, host, jars)


# None: it is not at hand.
CONTENDERS: dict[str, Callable[[str, PostgresHost, ExitStack], Carrier | None]] = {
    "relay": lambda bootstrap, host, _: Relay(bootstrap, host),
    "polling": lambda bootstrap, host, _: Polling(bootstrap, host),
    "debezium": _debezium,
}


def _warm_up(carriers: Sequence[Carrier]) -> None:
    """Everybody is up, and the broker has compiled what it runs often."""
    for carrier in carriers:
        carrier.load(WARM_UP_ROWS, 10)
        carrier.visible.until(WARM_UP_ROWS)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the sections and prints their lines."""
    parser = argparse.ArgumentParser(prog="bench outbox", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sections", nargs="*", choices=[[], *SECTIONS], metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--rows", type=int, default=200_000, help="of a backlog")
    parser.add_argument("--seconds", type=int, default=15, help="of a latency run")
    parser.add_argument(
        "--rounds", type=int, default=2, help="repeats of what is compared; of faults twice that and one"
    )
    parser.add_argument(
        "--contenders",
        nargs="+",
        choices=list(CONTENDERS),
        default=["relay"],
        help="beside ours (relay); debezium by Maven",
    )
    arguments = parser.parse_args(argv)
    scale = Scale(arguments.rows, arguments.seconds, arguments.rounds)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with ExitStack() as stack:
        bootstrap, host = stack.enter_context(servers(BROKER_OPTIONS))
        connector = stack.enter_context(closing(Connector(bootstrap, host)))
        carriers: list[Carrier] = [connector]
        for kind in arguments.contenders:
            peer = CONTENDERS[kind](bootstrap, host, stack)
            if peer is None:
                print(f"{kind}: peer absent (Java, Maven or its packages are not at hand)", flush=True)
            else:
                carriers.append(stack.enter_context(closing(peer)))
        _warm_up(carriers)
        for name in arguments.sections or SECTIONS:
            SECTIONS[name](connector, carriers, scale)
    return 0
