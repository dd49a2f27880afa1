"""The value of a row that is not there, told apart from every value that a row can have."""

from __future__ import annotations

from typing import Any

ABSENT: Any = object()
