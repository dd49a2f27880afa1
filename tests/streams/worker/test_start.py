"""How a worker starts and ends when what it needs is not there."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from tally.local.ports import free_ports


def _run(bootstrap: str | None, cwd: Any, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "TALLY_KAFKA_BOOTSTRAP"}
    if bootstrap is not None:
        environment["TALLY_KAFKA_BOOTSTRAP"] = bootstrap
    command = [sys.executable, "-m", "streams", *arguments]
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


def test_a_wrong_setting_is_one_line_that_names_it(tmp_path: Any) -> None:
    ended = _run("nonsense", tmp_path, "--port", "1")
    assert ended.returncode == 2
    assert ended.stderr.startswith("TALLY_KAFKA_BOOTSTRAP: ")
    assert ended.stderr.count("\n") == 1


def test_without_a_running_system_the_worker_says_so(tmp_path: Any) -> None:
    ended = _run(None, tmp_path, "--port", "1")
    assert ended.returncode == 4
    assert "nothing runs here" in ended.stderr


def test_a_taken_port_is_one_line_that_names_it(tmp_path: Any, taken_port: int) -> None:
    ended = _run("127.0.0.1:9", tmp_path, "--port", str(taken_port))
    assert ended.returncode == 1
    assert f"port {taken_port}" in ended.stderr.splitlines()[-1]


def test_probes_and_metrics_answer_before_kafka_does(worker_class: type, tmp_path: Any, until: Any) -> None:
    worker = worker_class(f"127.0.0.1:{free_ports(1)[0]}", 0, tmp_path / "worker.log")
    try:
        until(worker.is_up, "the worker answers", 30)
        progress = worker.get("/startupz")
        assert progress.status_code == 503
        assert progress.json()["started"] is False
        assert worker.get("/readyz").status_code == 503
        assert worker.get("/tables/orders/x").status_code == 503
        assert "tally_worker_ready 0.0" in worker.get("/metrics").text
    finally:
        worker.kill()
