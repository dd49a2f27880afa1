"""Snapshots of earlier forms are read by small steps."""

from __future__ import annotations

from typing import Any

import pytest

from producers.store.snapshots import SnapshotForm


def to_second(kept: dict[str, Any]) -> dict[str, Any]:
    return {"total_minor": kept["total"] * 100}


def to_third(kept: dict[str, Any]) -> dict[str, Any]:
    return {**kept, "currency": "GBP"}


FORM: SnapshotForm[dict[str, Any]] = SnapshotForm(3, dict, dict, {1: to_second, 2: to_third})


@pytest.mark.parametrize(
    ("version", "kept"),
    [(1, {"total": 5}), (2, {"total_minor": 500}), (3, {"total_minor": 500, "currency": "GBP"})],
)
def test_every_earlier_form_becomes_the_present_one(version: int, kept: dict[str, Any]) -> None:
    assert FORM.load(kept, version) == {"total_minor": 500, "currency": "GBP"}


@pytest.mark.parametrize("version", [0, 4])
def test_a_form_that_no_step_leads_from_is_named(version: int) -> None:
    with pytest.raises(LookupError, match=f"form {version}"):
        FORM.load({}, version)
