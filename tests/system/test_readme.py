"""Every command in the README runs."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

from running_system import Running

ROOT = Path(__file__).parent.parent.parent
PREFIX = ".venv/bin/tally "
# It stays in the foreground; the fixture `running` is this very command.
STAYS = "dev"


def commands() -> list[str]:
    """Lines of the README's shell blocks, without their comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    lines = [re.sub(r"\s+#.*$", "", line) for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.strip()]


def test_every_verb_of_the_readme_runs_against_a_running_system(running: Running) -> None:
    order_id = ""
    for line in commands():
        if not line.startswith(PREFIX) or line.removeprefix(PREFIX) == STAYS:
            continue
        arguments = shlex.split(line.removeprefix(PREFIX).replace("$ORDER", order_id))
        places = arguments[:2] == ["orders", "place"]
        said = running.tally(*arguments, *(["-f", "json"] if places else []))
        if places:
            order_id = json.loads(said)["id"]  # `--wait` shows the order itself
    assert order_id


def test_every_other_command_of_the_readme_is_a_target_of_make(running: Running) -> None:
    others = [line for line in commands() if not line.startswith(PREFIX)]
    assert {line.split()[0] for line in others} == {"make"}
    for line in others:
        planned = subprocess.run(
            ["make", "--dry-run", *shlex.split(line)[1:]], cwd=ROOT, check=True, capture_output=True
        )
        assert planned.stdout, line


def test_the_demo_plays_real_orders_and_its_audit_balances(running: Running) -> None:
    """`make demo ARGS="--invoices N --exit"`, beside the system that runs already: another data directory, other ports."""
    environment = {name: value for name, value in running.environment.items() if name != "TALLY_DATA_DIR"}
    environment["TALLY_DATA_DIR"] = str(running.data_dir / "demo-run")
    done = subprocess.run(
        ["make", "--no-print-directory", "demo", "ARGS=--invoices 60 --exit -f json"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    verdict = json.loads(done.stdout)
    assert verdict["ok"], verdict["findings"]
