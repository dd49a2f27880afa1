"""The whole system, started as a user starts it (`tally dev`), for tests that place orders through every hop."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from running_system import TALLY, Running, started


@pytest.fixture(scope="session")
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    """`tally dev` on fresh data, ready."""
    with started(request.session, lambda data_dir: [str(TALLY), "dev", "--data-dir", str(data_dir)]) as running:
        yield running
