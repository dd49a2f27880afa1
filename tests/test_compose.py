"""docker-compose.yml: valid by the Compose specification's schema, one service per process of `tally dev`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tally.local.processes import TABLE, workers

ROOT = Path(__file__).parent.parent
FILE = ROOT / "docker-compose.yml"
SERVERS = {"kafka", "postgres", "valkey"}


def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(FILE.read_text())["services"]
    return found


def test_the_file_is_valid_by_the_compose_specification() -> None:
    command = [
        str(Path(sys.executable).parent / "check-jsonschema"),
        "--builtin-schema",
        "vendor.compose-spec",
        str(FILE),
    ]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_every_process_of_ours_restarts_and_waits_for_the_set_up() -> None:
    for name, service in services().items():
        if name in SERVERS | {"init"}:
            continue
        assert service["restart"] == "unless-stopped", name
        assert name == "payment-sandbox" or "init" in service["depends_on"], name


def test_ports_are_on_loopback_only() -> None:
    for name, service in services().items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name


def test_every_started_module_exists() -> None:
    for name, service in services().items():
        command = service.get("command")
        if name not in SERVERS and isinstance(command, list) and command[:2] == ["python", "-m"]:
            assert (ROOT / command[2] / "__main__.py").is_file(), name


def test_there_is_one_service_for_each_process_of_the_supervisor() -> None:
    ours = {entry.name for entry in (*TABLE, *workers(1))}
    assert set(services()) == SERVERS | {"init"} | ours
