"""How much memory a set of processes and all their children use."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

_PROC = Path("/proc")
_KB = 1024


def used_bytes(pids: Iterable[int]) -> int:
    """Memory of the processes with all their descendants: shared pages are divided among those who share them.

    Where the kernel does not tell shares (another account's process), the whole resident size counts. 0 without /proc.
    """
    return sum(_of(pid) for pid in _with_descendants(set(pids)))


def _with_descendants(pids: set[int]) -> set[int]:
    children: dict[int, list[int]] = {}
    for entry in _PROC.glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # ended while we looked
        children.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found, waiting = set(pids), list(pids)
    while waiting:
        for child in children.get(waiting.pop(), ()):
            if child not in found:
                found.add(child)
                waiting.append(child)
    return found


def _of(pid: int) -> int:
    for file, name in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        try:
            lines = (_PROC / str(pid) / file).read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            if line.startswith(name):
                return int(line.split()[1]) * _KB
    return 0
