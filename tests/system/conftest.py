"""The whole system, started as a user starts it (`tally dev`), for tests that place orders through every hop."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_system import TALLY, Running, wait_for

READY_WITHIN_S = 120.0
STOPPED_WITHIN_S = 60.0


@pytest.fixture(scope="session")
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    """`tally dev` on fresh data, ready; data and logs are kept when a test failed."""
    # Not pytest's folder: it is closed to all but us, and PostgreSQL, which is not started as root, must enter.
    data_dir = Path(tempfile.mkdtemp(prefix="tally-system-"))
    data_dir.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TALLY_")}
    with (data_dir / "dev.log").open("wb") as log:
        process = subprocess.Popen(
            [str(TALLY), "dev", "--data-dir", str(data_dir)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        wait_for(
            lambda: (data_dir / "endpoints.json").exists() or process.poll() is not None, READY_WITHIN_S, "tally dev"
        )
        assert process.poll() is None, (data_dir / "dev.log").read_text()
        yield Running(data_dir, process)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if request.session.testsfailed:
            print(f"data and logs are kept in {data_dir}")
        else:
            shutil.rmtree(data_dir)
