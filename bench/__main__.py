"""`python -m bench [NAME…]`: the benchmarks; each prints its figures, ratios against a peer in the same run first."""

from __future__ import annotations

import argparse
import importlib
import sys

# Name on the command line -> module with `main(argv) -> int`.
BENCHMARKS = {
    "codec": "bench.codec",
    "append": "bench.append",
    "fsck": "bench.fsck",
    "headers": "bench.headers",
    "histories": "bench.histories",
    "idle": "bench.idle",
    "faust": "bench.faust_rdkafka",
    "outbox": "bench.outbox",
    "rebuild": "bench.rebuild",
    "restore": "bench.restore",
    "orders": "bench.orders",
    "reservations": "bench.reservations",
    "two-phase": "bench.two_phase",
}


def main() -> int:
    """Runs the named benchmarks, or all of them; the exit code is that of the worst."""
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], metavar="NAME", help=", ".join(BENCHMARKS))
    names = parser.parse_args().names or list(BENCHMARKS)
    worst = 0
    for name in names:
        print(f"== {name}", flush=True)
        worst = max(worst, importlib.import_module(BENCHMARKS[name]).main([]))
    return worst


if __name__ == "__main__":
    sys.exit(main())
