"""The public calls of `tally` for programs without an event loop."""

from __future__ import annotations

from tally.replaying.calls import replay_now as replay
from tally.replaying.calls import resume_replay_now as resume_replay

__all__ = ["replay", "resume_replay"]
