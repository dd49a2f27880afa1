"""Verbs that act on sagas: a reason is asked for where the act cannot be taken back."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize(
    "verb", [("skip", "o1", "--step", "capture"), ("compensate", "o1"), ("complete", "o1"), ("annotate", "o1")]
)
def test_an_act_without_a_reason_is_wrong_usage(run: Any, verb: tuple[str, ...]) -> None:
    result = run("sagas", *verb)
    assert result.exit_code == 2
    assert "--reason" in result.stderr


@pytest.mark.parametrize("verb", ["retry", "compensate", "complete", "annotate"])
def test_without_a_system_an_act_says_how_to_start_one(run: Any, verb: str) -> None:
    result = run("sagas", verb, "o1", "--reason", "because")
    assert result.exit_code == 4
    assert "tally dev" in result.stderr


def test_an_age_that_is_no_duration_is_wrong_usage(run: Any) -> None:
    result = run("sagas", "list", "--older", "long")
    assert result.exit_code == 2
    assert "such as 90s or 5m" in result.stderr
