"""Messages to Kafka records and back."""

from __future__ import annotations

from typing import Any

from schemas.codec import Codec
from schemas.envelope import Envelope, Headers, Message, new_id, now
from schemas.errors import Undecodable
from schemas.messages import wire_type

Record = tuple[bytes, bytes, list[tuple[str, bytes]]]


def first_message(source: str, aggregatetype: str, subject: str, body: Any) -> Message:
    """A message, of now, that no other of ours has caused: its own id is its correlation's and its cause's."""
    id_ = new_id()
    return Message(Envelope(id_, wire_type(type(body)), source, aggregatetype, subject, None, now(), id_, id_), body)


def encode_record(message: Message, codec: Codec) -> Record:
    """(key, value, headers) of a message; the key is its subject. Raises Unencodable."""
    return message.envelope.subject.encode(), codec.encode(message.body), message.envelope.headers()


def decode_record(headers: Headers | None, value: bytes | None, codec: Codec) -> Message:
    """The message of a record. Raises Undecodable, also when header and body name different types."""
    envelope = Envelope.from_headers(headers or ())
    return Message.read(envelope, decode_body(envelope, value, codec))


def decode_body(envelope: Envelope, value: bytes | None, codec: Codec) -> Any:
    """The body of a record whose headers were read already. Raises Undecodable as `decode_record` does."""
    body = codec.decode(value)
    if wire_type(type(body)) != envelope.type:
        raise Undecodable(f"header ce_type says {envelope.type}, the body is a {wire_type(type(body))}")
    return body
