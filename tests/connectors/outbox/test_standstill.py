"""A connector that stands still says so and where; one that was stopped as a whole says that instead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from structlog.testing import capture_logs

from connectors.outbox.metrics import Metrics
from connectors.outbox.standstill import Standstill

BEATING = """
import time
from connectors.outbox.metrics import Metrics
from connectors.outbox.standstill import Standstill
metrics = Metrics()
with Standstill(metrics, after_s=0.2):
    print("beats", flush=True)
    while True:
        metrics.beat()
        time.sleep(0.01)
"""


def test_a_connector_that_gives_no_sign_says_where_it_stands(wait_until: Callable[..., Any]) -> None:
    metrics = Metrics(state="STREAMING")
    with capture_logs() as logs, Standstill(metrics, after_s=0.1):
        wait_until(lambda: any(line["event"] == "stands still" for line in logs), "told")
        metrics.beat()
        wait_until(lambda: any(line["event"] == "goes on" for line in logs), "told that it goes on")
    told = next(line for line in logs if line["event"] == "stands still")
    assert told["state"] == "STREAMING"
    assert told["for_s"] >= 0.1
    assert " test_a_connector_that_gives_no_sign_says_where_it_stands" in told["at"]


def test_a_process_that_was_stopped_blames_nothing_else() -> None:
    with subprocess.Popen([sys.executable, "-c", BEATING], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "beats\n"
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(1.0)  # what it is to notice is a time
        os.kill(process.pid, signal.SIGCONT)
        told = next(line for line in process.stdout if "still" in line)
        process.kill()
    assert "the whole process stood still" in told
