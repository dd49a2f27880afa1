"""Dead letters of outbox rows in Tally's own form: DEAD_LETTERED in Avro."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from connectors.outbox.refused import LetterRecord, Refusal
from schemas.codec import Codec
from schemas.envelope import derive_id, now
from schemas.errors import ContractError
from schemas.letters import Place, SetAside, dead_letter
from schemas.records import encode_record

ORIGIN = "outbox"


class RefusedByKafka(ContractError):
    """The name that such a letter gives to its error."""


def letters_in(codec: Codec) -> Callable[[Refusal], LetterRecord]:
    """The `dead_letter` hook of our own wiring."""

    def write(refusal: Refusal) -> LetterRecord:
        place = Place(refusal.topic or "", None, None)
        record = SetAside(place, refusal.key, refusal.value, refusal.headers)
        letter = dead_letter(ORIGIN, record, RefusedByKafka(refusal.reason), now())
        # A row has no offset, so its own id tells letters of one key apart, and makes the letter the same when written again.
        letter_id = derive_id(refusal.row_id, ORIGIN, refusal.connector)
        envelope = replace(
            letter.envelope, id=letter_id, subject=letter_id, correlation_id=letter_id, causation_id=letter_id
        )
        key, value, headers = encode_record(replace(letter, envelope=envelope), codec)
        return LetterRecord(key, value, list(headers))

    return write
