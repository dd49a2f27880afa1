"""One fixed sample of every message, for the golden bytes."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, get_args, get_origin, get_type_hints

MOMENT = datetime(2026, 11, 24, 17, 32, 6, 123000, UTC)


def sample(cls: type, schema: dict[str, Any] | None = None) -> Any:
    """An instance whose values follow from field names and types alone.

    With `schema`, that of an older version, the fields that it lacks have their defaults.
    """
    hints = get_type_hints(cls)
    types = None if schema is None else {field["name"]: field["type"] for field in schema["fields"]}
    return cls(
        **{
            field.name: _value(field.name, hints[field.name], None if types is None else types[field.name])
            for field in fields(cls)
            if types is None or field.name in types
        }
    )


def _value(name: str, hint: Any, type_: Any = None) -> Any:
    if get_origin(hint) is tuple:
        return (sample(get_args(hint)[0], None if type_ is None else type_["items"]),) * 2
    if get_origin(hint) is dict:
        return {"ce_id": b"an id"}
    if type(None) in get_args(hint):
        hint = next(arg for arg in get_args(hint) if arg is not type(None))
    return {str: f"a {name}", int: 1000 + len(name), bytes: name.encode(), datetime: MOMENT}[hint]
