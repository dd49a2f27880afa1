"""A prepared transaction in doubt holds back nobody else's rows; its own come once it is committed, or never."""

from __future__ import annotations

from typing import Any

import pytest

PREPARE = (
    "begin",
    "insert into outbox (aggregatetype, aggregateid, type, payload, version) values ('t', 'k0', 'T', '100', 100)",
    "prepare transaction '{name}'",
)


@pytest.mark.parametrize(("end", "late"), [("commit", {100}), ("rollback", set())])
def test_others_are_published_while_one_is_in_doubt(outbox: Any, end: str, late: set[int]) -> None:
    outbox.start()
    outbox.insert(1, 1)
    outbox.until_read(1)
    outbox.sql(*(statement.format(name=outbox.name) for statement in PREPARE))
    try:
        outbox.insert(2, 20)
        before = {int(record.value()) for record in outbox.until_read(20)}
    finally:
        outbox.sql(f"{end} prepared '{outbox.name}'")
    outbox.insert(21, 21)
    after = {int(record.value()) for record in outbox.until_read(21 + len(late))}
    assert before == set(range(1, 21))
    assert after - before == {21} | late
