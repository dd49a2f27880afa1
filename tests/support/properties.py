"""How property tests are run."""

from __future__ import annotations

from hypothesis import HealthCheck, settings


def judge_by_what_is_found() -> None:
    """And never by the clock: by default an example that takes 200 ms fails, as one does now and then on a busy machine."""
    settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
    settings.load_profile("untimed")
