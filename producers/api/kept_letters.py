"""Dead letters as the API shows them."""

from __future__ import annotations

from typing import Any

from schemas.codec import Codec
from schemas.envelope import body_to_json
from schemas.errors import Undecodable
from schemas.letters import FAILED

Row = dict[str, Any]


def letter_row(id_: str, value: bytes, codec: Codec) -> Row:
    """What everybody may see of a letter; `tally dead-letters show` has the record itself."""
    try:
        letter = codec.decode(value)
    except Undecodable as error:
        nothing = dict.fromkeys(("topic", "partition", "offset", "key", "error", "lane", "attempts"))
        reason = f"the letter itself cannot be read: {error.reason}"
        return {"id": id_, **nothing, "state": FAILED, "recorded_at": "", "reason": reason}
    row = body_to_json(letter)
    row["key"] = None if letter.key is None else letter.key.decode(errors="backslashreplace")
    for name in ("value", "headers", "stack"):
        del row[name]
    return {"id": id_, **row, "state": letter.state or FAILED}
