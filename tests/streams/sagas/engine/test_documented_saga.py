"""The saga of docs/sagas.md runs as it stands there, prints what stands there, and ends whatever its services do."""

from __future__ import annotations

import re
import runpy
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from schemas.messages import ActOnSaga, CommandAnswered

PAGE = Path(__file__).parents[4] / "docs" / "sagas.md"
OUTCOMES = ("DONE", "REFUSED", "TRANSIENT", None)
STEPS = ("BookFlight", "BookHotel", "IssueTickets")


def blocks(language: str) -> str:
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE))


@pytest.fixture
def script(tmp_path: Path) -> str:
    file = tmp_path / "trip.py"
    file.write_text(blocks("python"))
    return str(file)


def test_the_page_prints_what_it_says(script: str, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(script, run_name="__main__")
    assert capsys.readouterr().out == blocks("text")


@pytest.mark.parametrize("outcomes", list(product(OUTCOMES, repeat=3)))
def test_a_trip_ends_booked_or_called_off_whatever_its_services_answer_at_first(
    script: str, outcomes: tuple[str | None, ...]
) -> None:
    play = runpy.run_path(script)["play"]
    first = dict(zip(STEPS, outcomes, strict=True))
    called_off = False

    def service(command: Any) -> str | None:
        """Each step is answered so at its first try, then done; who issues tickets does one thing or the other."""
        nonlocal called_off
        name = type(command.body).__name__
        called_off = called_off or name == "CallOff"
        if command.asks:
            return "UNDECIDED"
        if called_off and name == "IssueTickets":
            return "REFUSED"
        return first.pop(name, "DONE")

    trip, sent, _ = play(service)
    assert trip.outcome in ("BOOKED", "REJECTED")
    assert (trip.outcome == "REJECTED") is ("CallOff" in sent)
    assert ("SendPapers" in sent) is (trip.outcome == "BOOKED")
    if trip.outcome == "REJECTED" and outcomes[0] != "REFUSED":
        assert "CancelFlight" in sent


def test_a_person_calls_a_trip_off(script: str) -> None:
    page = runpy.run_path(script)
    start, decide = page["START"], page["decide"]
    trip = decide(page["Trip"](), page["PlanTrip"]("t", "Oslo", 1), start).saga
    given_up = decide(trip, ActOnSaga("COMPENSATE", "ann", "no more"), start)
    assert {type(command.body).__name__ for command in given_up.commands} == {"CancelFlight", "CallOff"}
    ended = given_up.saga
    for command in given_up.commands:
        ended = decide(ended, CommandAnswered("id", command.step.command_type, "DONE", None, None), start).saga
    assert (ended.outcome, ended.reason) == ("REJECTED", "no more")
