"""When a deadline fires: after its moment, and after the inputs that were there at that moment were read."""

from __future__ import annotations

from datetime import datetime, timedelta

from schemas.envelope import Message, to_rfc3339
from schemas.messages import DeadlinePassed, OrderCreated, OrderLine
from streams.sagas.deadlines import RESEND_AFTER, Deadlines, Inputs, entries_of
from streams.sagas.inputs import SagaInputs
from streams.sagas.state import Row, from_row
from streams.scenario import MOMENT, message

SECOND = timedelta(seconds=1)


class Log:
    """Ends and positions of the inputs of partition 0."""

    def __init__(self, end: int, read: int) -> None:
        self.end, self.read = end, read
        self.asked = 0

    def inputs(self) -> Inputs:
        async def end_offsets(partition: int) -> dict[str, int]:
            self.asked += 1
            return {"sagas.replies": self.end}

        return Inputs(end_offsets, lambda partition: {"sagas.replies": self.read})


def _one_saga() -> dict[str, Row]:
    rows: dict[str, Row] = {}
    inputs = SagaInputs(rows, MOMENT)
    created = OrderCreated("c", "GBP", (OrderLine(1, "A", 1, 1),), 1, "card", "tok_ok")
    inputs.handle(message(created, "o1"))
    inputs.save()
    return rows


def _begin(deadlines: Deadlines, rows: dict[str, Row]) -> None:
    deadlines.begin(0)
    for row in rows.values():
        deadlines.add(0, entries_of(row))


async def _fire(deadlines: Deadlines, rows: dict[str, Row], log: Log, now: datetime) -> list[Message]:
    return [sent.message for sent in await deadlines.fire(0, rows, log.inputs(), now)]


async def test_a_deadline_fires_at_its_moment_and_not_before() -> None:
    rows, deadlines, log = _one_saga(), Deadlines(), Log(0, 0)
    _begin(deadlines, rows)
    assert await _fire(deadlines, rows, log, MOMENT + 9 * SECOND) == []
    assert log.asked == 0
    [sent] = await _fire(deadlines, rows, log, MOMENT + 10 * SECOND)
    assert sent.body == DeadlinePassed("reserve", MOMENT + 10 * SECOND)
    assert sent.envelope.subject == "o1"
    assert await _fire(deadlines, rows, log, MOMENT + 11 * SECOND) == []


async def test_a_deadline_waits_until_what_was_there_at_its_moment_is_read() -> None:
    rows, deadlines, log = _one_saga(), Deadlines(), Log(7, 3)
    _begin(deadlines, rows)
    assert await _fire(deadlines, rows, log, MOMENT + 10 * SECOND) == []
    log.end, log.read = 20, 6
    assert await _fire(deadlines, rows, log, MOMENT + 11 * SECOND) == []
    log.read = 7
    assert len(await _fire(deadlines, rows, log, MOMENT + 12 * SECOND)) == 1
    assert log.asked == 1


async def test_what_was_answered_while_it_waited_does_not_fire() -> None:
    rows, deadlines, log = _one_saga(), Deadlines(), Log(7, 3)
    _begin(deadlines, rows)
    await _fire(deadlines, rows, log, MOMENT + 10 * SECOND)
    rows["o1"] = {**rows["o1"], "due": {}}
    log.read = 7
    assert await _fire(deadlines, rows, log, MOMENT + 11 * SECOND) == []


async def test_a_deadline_whose_message_was_lost_with_its_batch_fires_again_under_the_same_id() -> None:
    rows, deadlines, log = _one_saga(), Deadlines(), Log(0, 0)
    deadlines.note(0, [from_row(rows["o1"])])
    [first] = await _fire(deadlines, rows, log, MOMENT + 10 * SECOND)
    [again] = await _fire(deadlines, rows, log, MOMENT + 10 * SECOND + RESEND_AFTER)
    assert again.envelope.id == first.envelope.id


async def test_a_dropped_partition_fires_nothing() -> None:
    rows, deadlines, log = _one_saga(), Deadlines(), Log(0, 0)
    _begin(deadlines, rows)
    deadlines.drop(0)
    assert await _fire(deadlines, rows, log, MOMENT + 100 * SECOND) == []


async def test_a_row_that_changes_while_rows_are_gone_through_fires_by_what_it_is_now() -> None:
    rows, deadlines, log = _one_saga(), Deadlines(), Log(0, 0)
    deadlines.begin(0)
    noted = entries_of(rows["o1"])
    later = MOMENT + 40 * SECOND
    rows["o1"] = {**rows["o1"], "due": {"reserve": to_rfc3339(later)}}
    deadlines.note(0, [from_row(rows["o1"])])
    deadlines.add(0, noted)
    assert await _fire(deadlines, rows, log, MOMENT + 10 * SECOND) == []
    [sent] = await _fire(deadlines, rows, log, later)
    assert sent.body == DeadlinePassed("reserve", later)
