"""`python -m connectors.alone …`: the outbox connector against any database, with nothing of the rest of this system.

What it loads decides how soon its first row goes out: on a slow core the rest of the system costs a second.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from importlib import import_module

if __name__ == "__main__":
    # structlog looks for rich, to paint tracebacks, and that costs a fifth of this process's start; its lines are JSON.
    sys.modules["rich"] = None  # type: ignore[assignment]  # Python's way to say that a module is not to be had

from connectors.outbox import Metrics, main_standalone


def serve(metrics: Metrics, name: str, host: str, port: int) -> AbstractContextManager[object]:
    """Probes and metrics. Raises OSError."""
    # By name, as a quarter of a start would be theirs, and most connectors on somebody's own machine have none.
    served: AbstractContextManager[object] = import_module("connectors.probing").serve(metrics, name, host, port)
    return served


if __name__ == "__main__":
    sys.exit(main_standalone(sys.argv[1:], serve))
