"""Which verbs there are, and what the process of one loads."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from importlib import import_module

from typer.main import get_group

import tally.cli
from tally.cli.__main__ import GROUPS, VERBS, app

# Its verbs stand in the group replay.
INSIDE_ANOTHER = {"rebuilds"}


def test_every_module_with_verbs_is_in_the_table_with_each_of_them() -> None:
    names = [found.name for found in pkgutil.iter_modules(tally.cli.__path__) if found.name != "__main__"]
    with_verbs = {name for name in names if hasattr(import_module(f"tally.cli.{name}"), "app")}
    assert with_verbs - INSIDE_ANOTHER == VERBS.keys() | {name.replace("-", "_") for name in GROUPS}
    for module, verbs in VERBS.items():
        assert set(get_group(import_module(f"tally.cli.{module}").app).commands) == set(verbs), module


def test_each_is_found_and_the_help_names_them_in_order() -> None:
    group = get_group(app)
    context = group.make_context("tally", [], resilient_parsing=True)
    named = group.list_commands(context)
    assert [group.get_command(context, name).name for name in named] == named
    assert {"build", "run"} <= set(group.get_command(context, "replay").commands)
    assert group.get_command(context, "no-such-verb") is None


def test_the_process_of_a_verb_loads_no_other() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "tally.entry", "orders", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    loaded = {line.rsplit("|", 1)[1].strip() for line in done.stderr.splitlines() if "|" in line}
    # What is imported by name is not listed itself; all that it imports is.
    assert "tally.cli.failures" in loaded
    assert not {"tally.audit.collecting", "tally.replaying.planning", "tally.demo.running"} & loaded
