"""Logs: one JSON object a line, whoever wrote it."""

from __future__ import annotations

import json
import subprocess
import sys

WRITE = """
import logging
import structlog
from tally.logs import configure
configure("worker-0")
structlog.get_logger("streams").info("restored", records=3)
logging.getLogger("faust").warning("late by %s", "4 s")
password = "secret"
try:
    raise ValueError("broken")
except ValueError:
    structlog.get_logger("streams").exception("failed")
"""


def test_each_line_is_an_object_that_names_its_process_and_no_local_variable() -> None:
    run = subprocess.run([sys.executable, "-c", WRITE], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in run.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["restored", "late by 4 s", "failed"]
    assert {line["process"] for line in lines} == {"worker-0"}
    assert lines[0]["records"] == 3
    assert lines[2]["exception"][0]["exc_type"] == "ValueError"
    assert "secret" not in run.stderr
