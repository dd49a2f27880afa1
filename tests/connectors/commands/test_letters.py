"""Dead letters of a sink: what depends on a failed command waits behind it, through kills, until it is redriven."""

from __future__ import annotations

from typing import Any

from schemas.codec import AvroCodec
from schemas.letters import DISCARD, REDRIVE
from schemas.messages import ActOnDeadLetters


def states(place: Any) -> list[tuple[str | None, int | None]]:
    """State and number of tries of each letter, in the order of the records."""
    letters = sorted(place.letters().values(), key=lambda letter: letter.offset)
    return [(letter.state, letter.attempts) for letter in letters]


def acted(place: Any) -> list[tuple[str, int, int]]:
    """What the audit trail says of acts."""
    rows = place.ask("select payload from outbox where topic = 'audit-trail' order by created_at")
    bodies = [AvroCodec().decode(payload) for (payload,) in rows]
    return [(body.act, body.done, body.left) for body in bodies]


def test_a_key_waits_in_order_behind_its_failed_command_and_is_redriven_after_the_fix(place: Any) -> None:
    place.send([(key, seq) for seq in range(4) for key in ("poison-1", "order-1")])
    sink = place.start()
    place.until(lambda: len(place.letters()) == 4, "all of the key are told")
    place.until_effects(4)
    assert place.sequences() == {"order-1": [0, 1, 2, 3]}
    assert states(place) == [("FAILED", 1), ("WAITING", 0), ("WAITING", 0), ("WAITING", 0)]
    sink.kill()
    # Another process, the same fault: a redrive that comes too early leaves everything in its place.
    sink = place.start()
    place.act(ActOnDeadLetters(REDRIVE, "tests", "too early", key="poison-1"))
    place.until(lambda: ("FAILED", 2) in states(place), "it was tried again")
    assert "order-1" in place.sequences()
    assert "poison-1" not in place.sequences()
    place.send([("poison-1", 4)])
    place.until(lambda: len(place.letters()) == 5, "what comes meanwhile waits too")
    sink.kill()
    place.ask("insert into busy values ('mended')")
    place.start()
    place.act(ActOnDeadLetters(REDRIVE, "tests", "the fix is deployed"))
    place.until_effects(9)
    assert place.sequences() == {"order-1": [0, 1, 2, 3], "poison-1": [0, 1, 2, 3, 4]}
    place.until(lambda: place.letters() == {}, "no letter is left")
    assert place.ask("select count(*) from parked_commands") == [(0,)]
    assert acted(place) == [(REDRIVE, 0, 4), (REDRIVE, 0, 5)]


def test_a_discarded_command_makes_way_for_those_behind_it(place: Any) -> None:
    place.send([("order-1", 0), ("poison-1", 0), ("poison-1", 1)])
    place.start()
    place.until(lambda: len(place.letters()) == 2, "both are told")
    place.ask("insert into busy values ('mended')")
    (first,) = [id_ for id_, letter in place.letters().items() if letter.state == "FAILED"]
    place.act(ActOnDeadLetters(DISCARD, "tests", "the customer called", letter=first))
    place.until_effects(2)
    assert place.sequences()["poison-1"] == [1]
    place.until(lambda: place.letters() == {}, "no letter is left")
    assert acted(place) == [(DISCARD, 1, 1)]


def test_a_command_that_cannot_be_read_waits_alone(place: Any) -> None:
    place.send([("order-1", 0), ("order-1", 1)], bad={0: b"\x00\x00\x00\x00\x07 no schema has this id"})
    place.start()
    place.until_effects(1)
    (letter,) = place.letters().values()
    assert (letter.state, letter.attempts, letter.error) == ("FAILED", 1, "Undecodable")
    assert f"{place.topic}/" in letter.lane
    (id_,) = place.letters()
    place.act(ActOnDeadLetters(DISCARD, "tests", "nothing of ours", letter=id_))
    place.until(lambda: place.letters() == {}, "it is gone")


def test_at_the_bound_the_sink_pauses_with_an_alarm_and_still_hears_of_acts(place: Any) -> None:
    place.start(rows_max=3)
    place.send([("poison-1", seq) for seq in range(3)])
    place.until(lambda: "paused: as much waits as may wait" in place.processes[0].log.read_text(), "the sink's alarm")
    place.send([("order-1", 0)])
    place.ask("insert into busy values ('mended')")
    place.act(ActOnDeadLetters(REDRIVE, "tests", "the fix is deployed"))
    place.until_effects(4)
    assert place.sequences() == {"order-1": [0], "poison-1": [0, 1, 2]}
