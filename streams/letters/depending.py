"""What depends on a record: an event's later ones by aggregate id, a command's by its fence."""

from __future__ import annotations

from schemas.envelope import Message
from schemas.keys import SEPARATOR
from schemas.topics import DEAD_LETTERS_COMMANDS, INVENTORY_COMMANDS


def depends_on(topic: str, message: Message | None, key: bytes | None) -> str | None:
    """What a record has in common with those that must wait for it; None where nothing does.

    `message` is None for a record that cannot be read. A command of stock has its fence, the order's line, so that one
    bad command does not freeze a SKU; one without a fence, or that cannot be read, is set aside alone.
    """
    if topic == INVENTORY_COMMANDS:
        body = None if message is None else message.body
        order_id, line = getattr(body, "order_id", None), getattr(body, "line", None)
        return None if order_id is None or line is None else f"{order_id}{SEPARATOR}{line}"
    if topic == DEAD_LETTERS_COMMANDS:
        return None
    if message is not None:
        return message.envelope.subject
    return None if key is None else key.decode(errors="backslashreplace")
