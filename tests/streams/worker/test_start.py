"""How a worker starts and ends when what it needs is not there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tally.local.ports import free_ports


def _run(bootstrap: str | None, cwd: Any, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "TALLY_KAFKA_BOOTSTRAP"} | settings
    if bootstrap is not None:
        environment["TALLY_KAFKA_BOOTSTRAP"] = bootstrap
    command = [sys.executable, "-m", "streams", *arguments]
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


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


def test_a_data_directory_that_cannot_be_used_is_one_line_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "workers").write_text("not a directory")
    ended = _run("127.0.0.1:9", tmp_path, "--port", str(free_ports(1)[0]), TALLY_DATA_DIR=str(tmp_path))
    assert ended.returncode == 1
    assert f"{tmp_path}/workers/worker-0: Not a directory" in ended.stderr.splitlines()[-1]


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
