"""`mortal_system.py DATA_DIR`: the whole system as `tally dev` starts it, of processes that can be told to die."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from tally import logs
from tally.local.processes import TABLE, Entry, workers
from tally.local.system import Plan, System

# What carries and what follows is replaced; everything else is as it is.
MODULES = {
    "connector-orders": "mortal_connector",
    "connector-payments": "mortal_connector",
    "sink-orders": "mortal_sink",
    "sink-payments": "mortal_sink",
    "worker-0": "mortal_worker",
}
AS_THEY_ARE = ("payment-sandbox", "api")


def mortal(entry: Entry) -> Entry:
    service = entry.arguments[1:] if entry.module == "connectors" else entry.arguments
    return replace(entry, module=MODULES[entry.name], arguments=service)


def main(data_dir: Path) -> None:
    (data_dir / "logs").mkdir(parents=True, exist_ok=True)
    entries = (*TABLE, *workers(1))
    processes = tuple(
        entry if entry.name in AS_THEY_ARE else mortal(entry)
        for entry in entries
        if entry.name in AS_THEY_ARE or entry.name in MODULES
    )
    with (data_dir / "logs" / "supervisor.log").open("a") as log:
        logs.configure("supervisor", stream=log)
        System(Plan(data_dir, {}, processes=processes, workers=0), print).run(lambda _: None)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
