"""The script `tally`: what it becomes, and what it loads before."""

from __future__ import annotations

import subprocess
import sys


def run(*arguments: str, watch: bool = False) -> subprocess.CompletedProcess[str]:
    options = ["-X", "importtime"] if watch else []
    command = [sys.executable, *options, "-m", "tally.entry", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_connector_becomes_itself_before_the_verbs_are_loaded() -> None:
    done = run("connector", "--help", watch=True)
    assert done.returncode == 0
    assert "--source-url" in done.stdout
    loaded = {line.rsplit("|", 1)[1].strip() for line in done.stderr.splitlines() if "|" in line}
    assert "tally.cli.becoming" in loaded
    assert not {"typer", "tally.cli.__main__"} & loaded


def test_everything_else_is_a_verb() -> None:
    assert run("version").returncode == 0
    assert run("no-such-verb").returncode == 2
    assert run("connector").returncode == 2


def test_a_service_by_name_is_the_connector_of_that_service() -> None:
    done = run("connector", "nobody")
    assert done.returncode == 2
    assert "nobody" in done.stderr
