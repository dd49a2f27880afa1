"""Who did what to the running system, and why: records of `audit-trail`, written in the transaction of the act."""

from __future__ import annotations

from typing import Any

from schemas.codec import Codec
from schemas.records import Record, encode_record, first_message

SOURCE = "/tally/operator"


def trail_record(aggregatetype: str, subject: str, body: Any, codec: Codec) -> Record:
    """(key, value, headers) for `audit-trail`; `body` is a message that tells an act, `subject` what was acted on."""
    return encode_record(first_message(SOURCE, aggregatetype, subject, body), codec)
