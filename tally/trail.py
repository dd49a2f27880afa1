"""Who did what to the running system, and why: records of `audit-trail`, written in the transaction of the act."""

from __future__ import annotations

from typing import Any

from schemas.codec import Codec
from schemas.envelope import Envelope, Message, new_id, now
from schemas.messages import wire_type
from schemas.records import Record, encode_record

SOURCE = "/tally/operator"


def trail_record(aggregatetype: str, subject: str, body: Any, codec: Codec) -> Record:
    """(key, value, headers) for `audit-trail`; `body` is a message that tells an act, `subject` what was acted on."""
    id_ = new_id()
    acted = Envelope(id_, wire_type(type(body)), SOURCE, aggregatetype, subject, None, now(), id_, id_)
    return encode_record(Message(acted, body), codec)
