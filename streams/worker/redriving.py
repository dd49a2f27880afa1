"""The agent that an operator's acts reach: it redrives and discards dead letters, in order, in its batch's transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from schemas.envelope import Message, derive_id
from schemas.letters import DISCARD, REDRIVE
from schemas.messages import ActOnDeadLetters, DeadLettersActed
from schemas.records import encode_record
from schemas.topics import AUDIT_TRAIL, DEAD_LETTERS_COMMANDS
from streams.errors import UnexpectedMessage
from streams.letters.kept import Kept
from streams.letters.lanes import OpenLanes
from streams.outgoing import Address, Outgoing, follow
from streams.worker.parking import Parking

# So many records in one transaction; a longer redrive sends itself on, so that queries and other keys get their turn.
RECORDS_MAX = 500
SOURCE = "/tally/worker"

# Tries a record with the agent that it is kept for; what it raises undid all of the try.
Try = Callable[[Kept], None]


@dataclass(slots=True)
class _Act:
    """One act in one partition as it goes on."""

    wish: ActOnDeadLetters
    lanes: OpenLanes
    budget: int = RECORDS_MAX
    done: int = 0
    left: int = 0


@dataclass(frozen=True, slots=True)
class Redriving:
    """`handle` works one ACT_ON_DEAD_LETTERS; nothing of ours meant: nothing happens."""

    parking: Parking
    try_one: Try

    def handle(self, message: Message, partition: int) -> list[Outgoing]:
        """Gives what is to be sent beside letters. Raises UnexpectedMessage."""
        wish = message.body
        if not isinstance(wish, ActOnDeadLetters) or wish.act not in (REDRIVE, DISCARD):
            raise UnexpectedMessage(message.envelope.type, DEAD_LETTERS_COMMANDS)
        act = _Act(wish, self.parking.lanes(partition))
        for lane, number in list(act.lanes.wanted(wish)):
            if act.budget <= 0 or not self._work(act, lane, number):
                self._go_on(message, act.lanes, lane, partition)
                break
        return list(_for_the_trail(message, act, partition, self.parking))

    def _work(self, act: _Act, lane: str, number: int | None) -> bool:
        """Whether the lane came to an end, or to a record that fails again, within the budget."""
        if act.wish.act == REDRIVE:
            ended = self._redrive(act, lane)
        else:
            ended = self._discard(act, lane, number)
            first = act.lanes.first(lane)
            if ended and number is not None and first is not None and not first[1].is_failed:
                # What stood behind the discarded record has its turn now.
                ended = self._redrive(act, lane)
        act.left += act.lanes.count(lane)
        return ended

    def _redrive(self, act: _Act, lane: str) -> bool:
        while (found := act.lanes.first(lane)) is not None:
            if act.budget <= 0:
                return False
            number, kept = found
            act.budget -= 1
            try:
                self.try_one(kept)
            except Exception as error:
                # Whatever it is: the record keeps its place, and the reason of this try stands in its letter.
                failed = kept.failed(error, self.parking.clock())
                act.lanes.replace(number, failed)
                self.parking.tell(failed, error)
                return True
            self._end(act, number, kept)
        return True

    def _discard(self, act: _Act, lane: str, number: int | None) -> bool:
        for found, kept in list(act.lanes.records(lane)):
            if number not in (None, found):
                continue
            if act.budget <= 0:
                return False
            act.budget -= 1
            self._end(act, found, kept)
        return True

    def _end(self, act: _Act, number: int, kept: Kept) -> None:
        act.lanes.remove(kept.standing.lane, number)
        self.parking.forget(kept)
        act.done += 1

    def _go_on(self, message: Message, lanes: OpenLanes, lane: str, partition: int) -> None:
        """The rest in a further transaction, from this lane on; the letter that was named is gone, its lane is not."""
        wish, first = message.body, lanes.first(lane)
        if wish.letter is not None and first is not None:
            wish = replace(wish, act=REDRIVE, letter=first[1].letter_id)
        id_ = derive_id(message.envelope.id, "on", lane)
        onward = Message(replace(message.envelope, id=id_), replace(wish, lane=lane))
        self.parking.app.emit(DEAD_LETTERS_COMMANDS, *encode_record(onward, self.parking.codec), partition=partition)


def _for_the_trail(message: Message, act: _Act, partition: int, parking: Parking) -> Iterator[Outgoing]:
    """Who did what, and why, in the transaction in which it is done."""
    wish = act.wish
    if not act.done and not act.left:
        return
    subject = message.envelope.subject
    body = DeadLettersActed(wish.act, wish.by, wish.reason, "worker", wish.letter, wish.key, act.done, act.left)
    id_ = derive_id(message.envelope.id, "trail", SOURCE, partition)
    yield Outgoing(
        AUDIT_TRAIL, follow(message.envelope, id_, Address(SOURCE, "dead-letters", subject), body, parking.clock())
    )
