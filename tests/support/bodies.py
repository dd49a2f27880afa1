"""Any body of any message, for property tests."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from schemas.messages import MESSAGES

# Fields that some schema holds in 32 bits.
NARROW = {"line", "partition", "attempts", "done", "left", "number"}

moments = st.datetimes(min_value=datetime(1900, 1, 2), max_value=datetime(2200, 1, 1), timezones=st.just(UTC)).map(
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
)


def strategy(name: str, hint: Any) -> st.SearchStrategy[Any]:
    """Values that a field of this name and type can hold."""
    if get_origin(hint) is tuple:
        return st.lists(bodies(get_args(hint)[0]), max_size=3).map(tuple)
    if get_origin(hint) is dict:
        return st.dictionaries(st.text(max_size=5), st.binary(max_size=5), max_size=3)
    if type(None) in get_args(hint):
        inner = next(arg for arg in get_args(hint) if arg is not type(None))
        return st.none() | strategy(name, inner)
    bits = 31 if name in NARROW else 63
    return {
        str: st.text(max_size=20) | st.text(min_size=60, max_size=130),
        int: st.integers(0, 9_000) | st.integers(-(1 << bits), (1 << bits) - 1),
        bytes: st.binary(max_size=20),
        datetime: moments,
    }[hint]


def bodies(cls: type) -> st.SearchStrategy[Any]:
    """Instances of one class."""
    hints = get_type_hints(cls)
    return st.builds(cls, **{field.name: strategy(field.name, hints[field.name]) for field in fields(cls)})


messages = st.sampled_from(sorted(MESSAGES.values(), key=lambda cls: cls.__name__)).flatmap(bodies)
