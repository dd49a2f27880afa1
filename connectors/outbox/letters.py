"""Dead letters of outbox rows in Tally's own form: DEAD_LETTERED in Avro."""

from __future__ import annotations

from collections.abc import Callable

from connectors.outbox.refused import LetterRecord, Refusal
from schemas.codec import Codec
from schemas.envelope import now
from schemas.errors import ContractError
from schemas.letters import Place, SetAside, dead_letter
from schemas.records import encode_record

ORIGIN = "outbox"


class RefusedByKafka(ContractError):
    """The name that such a letter gives to its error."""


def letters_in(codec: Codec) -> Callable[[Refusal], LetterRecord]:
    """The `dead_letter` hook of our own wiring."""

    def write(refusal: Refusal) -> LetterRecord:
        place = Place(refusal.topic or "", None, None, refusal.row_id)
        record = SetAside(place, refusal.key, refusal.value, refusal.headers)
        letter = dead_letter(ORIGIN, record, RefusedByKafka(refusal.reason), now())
        key, value, headers = encode_record(letter, codec)
        return LetterRecord(key, value, list(headers))

    return write
