"""Event-sourced orders and inventory on Kafka: hosts the parts, and listens to people.

`import tally` gives what stands in `__all__`; `tally.sync` has the same for programs without an event loop.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["Bounds", "replay", "resume_replay"]

# Loaded when first asked for: most processes of the system import a part of this package and want none of these.
_HOMES = {
    "Bounds": "tally.replaying.asked",
    "replay": "tally.replaying.calls",
    "resume_replay": "tally.replaying.calls",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
