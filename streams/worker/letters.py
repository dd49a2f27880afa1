"""Dead letters of the worker: what cannot be read or handled leaves the flow, with its reason, in the same transaction."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from faust_rdkafka import RawRecord
from schemas.codec import Codec
from schemas.letters import Place, SetAside, dead_letter
from schemas.records import encode_record
from schemas.topics import DEAD_LETTERS

ORIGIN = "worker"
# Beside the transport's UNDECODABLE and FAILED: a record that a rule refused by name.
REFUSED = "REFUSED"

Letter = tuple[str, bytes | None, bytes | None, list[tuple[str, bytes]]]


def letter_writer(codec: Codec, clock: Callable[[], datetime]) -> Callable[[RawRecord, str, BaseException], Letter]:
    """The transport's hook: a record, why, and the error, to the record that is sent in its place."""

    def write(record: RawRecord, reason: str, error: BaseException) -> Letter:
        cause = error if isinstance(error, Exception) else RuntimeError(f"{reason}: {error!r}")
        place = Place(record.topic, record.partition, record.offset)
        letter = dead_letter(ORIGIN, SetAside(place, record.key, record.value, record.headers), cause, clock())
        key, value, headers = encode_record(letter, codec)
        return DEAD_LETTERS, key, value, headers

    return write
