"""The connector as a process of its own, to be killed; arguments are those of its command line.

Without these it is the command itself:
`TEST_KILL_AT` "step" or "step:N" kills it with SIGKILL at the N-th time that it comes by; `TEST_PART_ROWS` is the size of the parts
in which a large transaction is sent.
"""

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace

from connectors.outbox import Window, run
from connectors.outbox.standalone import config_of, main_standalone
from connectors.outbox.steps import Step
from connectors.stopping import stopped_by_signals


def killer(wanted: str) -> Callable[[Step], None]:
    step, _, count = wanted.partition(":")
    left = [int(count or 1)]

    def at_step(here: Step) -> None:
        if here == step:
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)

    return at_step


def main() -> int:
    if not {"TEST_KILL_AT", "TEST_PART_ROWS"} & os.environ.keys():
        return main_standalone(sys.argv[1:])
    stop = stopped_by_signals()
    part_rows_max = int(os.environ.get("TEST_PART_ROWS", Window().part_rows_max))
    config = replace(config_of(sys.argv[1:]), window=Window(part_rows_max=part_rows_max))
    return run(config, stop, at_step=killer(os.environ.get("TEST_KILL_AT", "")))


if __name__ == "__main__":
    sys.exit(main())
