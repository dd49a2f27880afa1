"""Which version of a read model's table is served and which is built: one record a read model, on `table-versions`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import orjson

from schemas.errors import Undecodable


@dataclass(frozen=True, slots=True)
class Versions:
    """`served` answers queries, `building` is folded beside it; `newest` was ever built, so that no number comes twice."""

    served: int = 1
    building: int | None = None
    newest: int = 1

    def with_build(self) -> Versions:
        """A further version is built. Raises WrongTurn when one is already."""
        if self.building is not None:
            raise WrongTurn(f"version {self.building} is being built already; promote or discard it first")
        number = max(self.newest, self.served) + 1
        return replace(self, building=number, newest=number)

    def promoted(self) -> Versions:
        """What was built is served. Raises WrongTurn when nothing was."""
        if self.building is None:
            raise WrongTurn("no version is being built")
        return replace(self, served=self.building, building=None)

    def discarded(self) -> Versions:
        """What was built goes. Raises WrongTurn when nothing was."""
        if self.building is None:
            raise WrongTurn("no version is being built")
        return replace(self, building=None)


class WrongTurn(Exception):
    """A change that the present state does not allow."""


def to_value(versions: Versions) -> bytes:
    """The record's value; its key is the read model's name."""
    return orjson.dumps({"served": versions.served, "building": versions.building, "newest": versions.newest})


def from_value(value: bytes | None) -> Versions:
    """The reverse; a deleted record is the first version. Raises Undecodable."""
    if value is None:
        return Versions()
    try:
        found = orjson.loads(value)
        versions = Versions(found["served"], found["building"], found["newest"])
    except (orjson.JSONDecodeError, KeyError, TypeError) as wrong:
        raise Undecodable(f"no record of table versions: {wrong!r}") from None
    numbers = [versions.served, versions.newest, *([] if versions.building is None else [versions.building])]
    if not all(type(number) is int and number >= 1 for number in numbers):
        raise Undecodable(f"no record of table versions: {found}")
    return versions


def newest_by_name(records: Iterable[tuple[bytes | None, bytes | None]], known: Iterable[str]) -> dict[str, Versions]:
    """Versions by read model from (key, value) pairs in order; what cannot be read or names none of `known` is passed over."""
    names, found = set(known), dict[str, Versions]()
    for key, value in records:
        name = (key or b"").decode(errors="replace")
        if name in names:
            try:
                found[name] = from_value(value)
            except Undecodable:
                continue
    return found
