"""The table of what came of each crash."""

from __future__ import annotations

from two_phase_steps import matrix, pytest_terminal_summary

__all__ = ["matrix", "pytest_terminal_summary"]
