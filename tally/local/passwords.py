"""Random passwords of the local database roles, kept in the data directory where only its owner reads them."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

BYTES = 18


class Passwords:
    """One password a role, made at the first question and the same ever after. Not for several processes at once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def of(self, role: str) -> str:
        """The password of `role`; safe inside a URL."""
        known: dict[str, str] = json.loads(self._path.read_text()) if self._path.exists() else {}
        if role not in known:
            known[role] = secrets.token_urlsafe(BYTES)
            self._write(known)
        return known[role]

    def forget(self) -> None:
        """Remove all of them."""
        self._path.unlink(missing_ok=True)

    def _write(self, known: dict[str, str]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(known, file)
        fresh.replace(self._path)
