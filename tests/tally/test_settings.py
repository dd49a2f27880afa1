"""Settings: a flag, else the environment, else what runs here; what is missing or wrong is named in one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tally import endpoints
from tally.settings import NothingRuns, Settings, WrongSetting, without_password

DATABASE = "postgresql://orders:secret@127.0.0.1:5/orders"
ALIVE, DEAD = os.getpid(), 2**22 + 1  # the second is above the kernel's highest process id


def announce(folder: Path, supervisor: int = ALIVE) -> Path:
    path = folder / ".tally" / "endpoints.json"
    document = {"kafka": "127.0.0.1:7", "orders_database": DATABASE, "pids": {"supervisor": supervisor}}
    endpoints.write(path, document)
    return path


def tally(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TALLY_")}
    return subprocess.run(
        [sys.executable, "-m", "tally.cli", *arguments],
        cwd=folder,
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def shown(folder: Path, **environment: str) -> dict[str, dict[str, str | None]]:
    return json.loads(tally(folder, "config", "show", "-f", "json", **environment).stdout)


def test_a_flag_wins() -> None:
    settings = Settings(kafka_bootstrap="here:9092", api_port=8081)
    assert settings.kafka_bootstrap == "here:9092"
    assert settings.origin("kafka_bootstrap") == "flag"
    assert settings.api_port == 8081
    assert settings.outbox_keep_s == 86_400


def test_the_environment_wins_over_what_runs_here(tmp_path: Path) -> None:
    path = announce(tmp_path)
    found = shown(tmp_path, TALLY_KAFKA_BOOTSTRAP="there:9092")
    assert found["TALLY_KAFKA_BOOTSTRAP"] == {"value": "there:9092", "origin": "environment"}
    assert found["TALLY_ORDERS_DATABASE_URL"]["origin"] == str(path)


def test_what_runs_in_a_folder_above_is_found(tmp_path: Path) -> None:
    announce(tmp_path)
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert shown(below)["TALLY_KAFKA_BOOTSTRAP"]["value"] == "127.0.0.1:7"


def test_a_named_data_directory_is_the_only_place_that_is_looked_at(tmp_path: Path) -> None:
    announce(tmp_path)
    assert shown(tmp_path, TALLY_DATA_DIR=str(tmp_path / "other"))["TALLY_KAFKA_BOOTSTRAP"]["value"] is None


def test_what_a_dead_supervisor_left_does_not_count(tmp_path: Path) -> None:
    announce(tmp_path, supervisor=DEAD)
    assert shown(tmp_path)["TALLY_KAFKA_BOOTSTRAP"] == {"value": None, "origin": "not set"}


def test_where_nothing_runs_a_verb_says_so_and_ends_with_4(tmp_path: Path) -> None:
    run = tally(tmp_path, "doctor")
    assert run.returncode == 4
    assert run.stderr.splitlines() == ["nothing runs here; start it with `tally dev` (or set TALLY_KAFKA_BOOTSTRAP)"]


def test_a_wrong_setting_is_named_and_ends_with_2(tmp_path: Path) -> None:
    run = tally(tmp_path, "doctor", TALLY_API_PORT="many")
    assert run.returncode == 2
    assert len(run.stderr.splitlines()) == 1
    assert run.stderr.startswith("TALLY_API_PORT: ")


def test_no_password_is_shown(tmp_path: Path) -> None:
    announce(tmp_path)
    assert "secret" not in tally(tmp_path, "config", "show").stdout
    assert "orders:***@" in tally(tmp_path, "config", "show").stdout
    assert without_password("redis://host:1/0") == "redis://host:1/0"


def test_a_wrong_address_is_refused_without_showing_its_password() -> None:
    with pytest.raises(WrongSetting, match=r"^TALLY_ORDERS_DATABASE_URL: not a URL of the form") as refused:
        Settings(orders_database_url="http://a:secret@b")
    assert "secret" not in str(refused.value)
    with pytest.raises(WrongSetting, match="host:port"):
        Settings(kafka_bootstrap="nowhere")


def test_a_missing_value_is_named(tmp_path: Path) -> None:
    with pytest.raises(NothingRuns, match="TALLY_PAYMENTS_REPLICATION_URL"):
        Settings(data_dir=tmp_path).need("payments_replication_url")


def test_down_is_done_where_nothing_runs(tmp_path: Path) -> None:
    run = tally(tmp_path, "down")
    assert (run.returncode, run.stderr) == (0, "nothing runs here\n")
    assert tally(tmp_path, "down", "--quiet").stderr == ""
