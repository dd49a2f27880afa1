"""Up to which number a table is settled, whatever order its numbers are committed in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from connectors.outbox.polling.settled import NOTHING, Settled

EACH_STEP = st.sampled_from(["begin", "draw", "commit", "roll back", "look"])


def test_without_writers_the_newest_number_is_settled_at_once() -> None:
    settled = Settled()
    settled.look(7, set())
    assert settled.up_to == 7
    assert not settled.is_waiting


def test_a_number_waits_for_everybody_who_wrote_when_it_was_seen() -> None:
    settled = Settled()
    settled.look(7, {"a", "b"})
    assert settled.up_to == NOTHING
    settled.look(9, {"b", "c"})
    assert settled.up_to == NOTHING
    assert settled.is_waiting
    settled.look(9, {"c"})
    assert settled.up_to == 7, "c came after 7 was seen, and may have drawn 8"
    settled.look(9, {"d"})
    assert settled.up_to == 9


def test_nothing_new_waits_for_nobody() -> None:
    settled = Settled()
    settled.look(7, set())
    settled.look(None, {"a"})
    settled.look(3, {"a"})
    assert (settled.up_to, settled.is_waiting) == (7, False)


@given(st.lists(st.tuples(EACH_STEP, st.integers(0, 5)), max_size=80))
def test_no_number_appears_below_what_is_settled(steps: list[tuple[str, int]]) -> None:
    """A writer locks, then draws, then ends; a look takes its snapshot first and asks for writers after it."""
    settled, drawn, names = Settled(), 0, 0
    writers: dict[int, tuple[str, list[int]]] = {}
    visible: set[int] = set()
    for step, who in steps:
        if step == "begin" and who not in writers:
            names += 1
            writers[who] = (str(names), [])
        elif step == "draw" and who in writers:
            drawn += 1
            writers[who][1].append(drawn)
        elif step in ("commit", "roll back") and who in writers:
            _, numbers = writers.pop(who)
            if step == "commit":
                assert all(number > settled.up_to for number in numbers)
                visible.update(numbers)
        elif step == "look":
            settled.look(max(visible, default=None), {name for name, _ in writers.values()})
    settled.look(max(visible, default=None), set())
    assert settled.up_to == max(visible, default=NOTHING)
