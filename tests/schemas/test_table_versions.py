"""Versions of tables: the turns that they take, and their record."""

from __future__ import annotations

import pytest

from schemas.errors import Undecodable
from schemas.table_versions import Versions, WrongTurn, from_value, newest_by_name, to_value


def test_a_number_never_comes_twice_whatever_was_discarded() -> None:
    first = Versions().with_build()
    assert first == Versions(1, 2, 2)
    second = first.discarded().with_build()
    assert second == Versions(1, 3, 3)
    assert second.promoted() == Versions(3, None, 3)
    assert second.promoted().with_build() == Versions(3, 4, 4)


def test_one_version_is_built_at_a_time_and_only_what_is_built_can_be_promoted_or_discarded() -> None:
    with pytest.raises(WrongTurn, match="2 is being built already"):
        Versions(1, 2, 2).with_build()
    with pytest.raises(WrongTurn, match="no version"):
        Versions().promoted()
    with pytest.raises(WrongTurn, match="no version"):
        Versions().discarded()


@pytest.mark.parametrize("versions", [Versions(), Versions(1, 2, 2), Versions(4, None, 7)])
def test_a_record_gives_back_what_was_written(versions: Versions) -> None:
    assert from_value(to_value(versions)) == versions


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{}",
        b"[1, 2]",
        b"7",
        b'{"served":0,"building":null,"newest":1}',
        b'{"served":"1","building":null,"newest":1}',
        b'{"served":1,"building":-2,"newest":1}',
        b'{"served":true,"building":null,"newest":1}',
    ],
)
def test_what_is_no_record_of_versions_is_refused(value: bytes) -> None:
    with pytest.raises(Undecodable):
        from_value(value)


def test_the_last_record_of_a_name_counts_and_strangers_are_passed_over() -> None:
    records = [
        (b"orders", to_value(Versions(1, 2, 2))),
        (b"orders", to_value(Versions(2, None, 2))),
        (b"orders", b"by hand"),
        (b"stock", to_value(Versions(5, None, 5))),
        (b"stock", None),
        (b"\xff", to_value(Versions(9, None, 9))),
        (None, to_value(Versions(9, None, 9))),
    ]
    assert newest_by_name(records, ("orders", "stock")) == {"orders": Versions(2, None, 2), "stock": Versions()}
