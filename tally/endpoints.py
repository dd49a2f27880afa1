"""The file `endpoints.json`: where the parts of a running system are, written by its supervisor, found by all others."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

FILE_NAME = "endpoints.json"
DATA_DIR_NAME = ".tally"


def find(data_dir: Path | None, start: Path) -> Path | None:
    """The file of `data_dir` when given, else the nearest `.tally/endpoints.json` from `start` upwards."""
    if data_dir is not None:
        candidates = [data_dir / FILE_NAME]
    else:
        candidates = [folder / DATA_DIR_NAME / FILE_NAME for folder in (start, *start.parents)]
    return next((path for path in candidates if path.is_file()), None)


def read(path: Path) -> dict[str, object]:
    """What the file says; empty when it is gone, no JSON object, or left behind by a supervisor that is no more."""
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(document, dict):
        return {}
    pids = document.get("pids")
    supervisor = pids.get("supervisor") if isinstance(pids, dict) else None
    return document if not isinstance(supervisor, int) or is_alive(supervisor) else {}


def write(path: Path, document: Mapping[str, object]) -> None:
    """Replace the file in one step; only its owner may read it: the addresses hold passwords."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(document, file, indent=2)
    fresh.replace(path)


def is_alive(pid: int) -> bool:
    """Whether a process with this number exists and is not merely waiting to be buried."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True  # no /proc here
    return state != "Z"


def find_current() -> Path | None:
    """The file that holds for this process: of `TALLY_DATA_DIR`, else the nearest upwards from here."""
    data_dir = os.environ.get("TALLY_DATA_DIR")
    return find(Path(data_dir) if data_dir else None, Path.cwd())
