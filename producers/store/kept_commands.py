"""A command as JSON, for a row that keeps it until it is worked."""

from __future__ import annotations

from typing import Any

from schemas.envelope import Envelope, Message, body_to_json, from_rfc3339, to_rfc3339
from schemas.messages import class_of


def command_to_json(command: Message) -> dict[str, Any]:
    """Envelope and body of a command."""
    return {"envelope": _envelope_to_json(command.envelope), "body": body_to_json(command.body)}


def command_from_json(kept: dict[str, Any]) -> Message:
    """The reverse of `command_to_json`."""
    told = kept["envelope"]
    envelope = Envelope(**{**told, "recorded_at": from_rfc3339(told["recorded_at"]), "version": None})
    body_class = class_of(envelope.type)
    assert body_class is not None, "only commands that we know are noted"
    return Message(envelope, body_class(**kept["body"]))


def _envelope_to_json(envelope: Envelope) -> dict[str, Any]:
    return {
        "id": envelope.id,
        "type": envelope.type,
        "source": envelope.source,
        "aggregatetype": envelope.aggregatetype,
        "subject": envelope.subject,
        "recorded_at": to_rfc3339(envelope.recorded_at),
        "correlation_id": envelope.correlation_id,
        "causation_id": envelope.causation_id,
        "traceparent": envelope.traceparent,
    }
