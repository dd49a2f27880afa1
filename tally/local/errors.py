"""Errors of the local servers.

LocalError                    something on this machine is not as it must be; one line for the user
├── PackagesOutOfReach        files are missing and the place they come from cannot be reached
├── Tampered                  a file is not the one that the lock names
├── AlreadyRuns               another supervisor owns this data directory
└── ServerFailed              a server did not start or did not become ready; names its log
"""

from __future__ import annotations

from pathlib import Path


class LocalError(Exception):
    """Something on this machine is not as it must be; the message is one line for the user."""


class PackagesOutOfReach(LocalError):
    """`what` is missing here and cannot be fetched, for `reason`."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"{what} missing and cannot be fetched: {reason}")
        self.what, self.reason = what, reason


class Tampered(LocalError):
    """`file` is not the one that the lock names."""

    def __init__(self, file: str, expected: str, found: str) -> None:
        super().__init__(f"{file} has SHA-256 {found[:16]}…, the lock says {expected[:16]}…; it was not used")
        self.file, self.expected, self.found = file, expected, found


class AlreadyRuns(LocalError):
    """Another process owns the data directory `data_dir`."""

    def __init__(self, data_dir: Path, pid: str) -> None:
        super().__init__(f"Tally already runs in {data_dir} (process {pid}); `tally down` ends it")
        self.data_dir, self.pid = data_dir, pid


class ServerFailed(LocalError):
    """The server `name` did not start or did not become ready; `log` says more."""

    def __init__(self, name: str, reason: str, log: Path) -> None:
        super().__init__(f"{name} {reason}; see {log}")
        self.name, self.reason, self.log = name, reason, log
