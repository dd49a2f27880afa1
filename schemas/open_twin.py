"""How instances of frozen classes are made fast: filled while they are open, then closed."""

from __future__ import annotations

from dataclasses import fields


def open_twin(cls: type) -> type:
    """A plain class with the slots of a frozen, slotted dataclass, whose instances become its by `__class__`.

    The constructor of a frozen dataclass goes through `object.__setattr__` for each field and takes three times as long;
    Python allows the change between classes of one layout.
    """
    return type(f"Open{cls.__name__}", (), {"__slots__": tuple(field.name for field in fields(cls))})
