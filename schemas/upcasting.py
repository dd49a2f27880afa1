"""Steps from an older version of a message to the next: what a default cannot say.

A field that is new and may be null needs no step. A step is a small pure function from the older version's values to
the next one's; it stays for ever, as the bytes that it reads do (tests/schemas/golden.json keeps some of each version).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Values = dict[str, Any]
Step = Callable[[Values], Values]

# By subject: step n turns version n into version n + 1. None is needed yet: new fields may be null.
Upcasters = Mapping[str, Mapping[int, Step]]
UPCASTERS: Upcasters = {}


def steps_from(upcasters: Upcasters, subject: str, version: int, newest: int) -> tuple[Step, ...]:
    """The steps that lead on from `version`, in order; a version without one only lacks what defaults say."""
    return tuple(_between(upcasters.get(subject, {}), version, newest))


def climb(values: Values, steps: tuple[Step, ...]) -> Values:
    """The values after all steps."""
    for step in steps:
        values = step(values)
    return values


def _between(steps: Mapping[int, Step], version: int, newest: int) -> Iterator[Step]:
    for step in range(version, newest):
        if step in steps:
            yield steps[step]
