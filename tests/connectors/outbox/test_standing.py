"""A test that waits in vain says what stood where."""

from typing import Any

import pytest
from confluent_kafka import Producer


def test_what_was_waited_for_in_vain_is_told_from_every_side(outbox: Any) -> None:
    running = outbox.start().until_ready()
    outbox.insert(1, 1)
    [record] = outbox.until_read(1)
    producer = Producer({"bootstrap.servers": outbox.bootstrap, "transactional.id": outbox.name, "log_level": 2})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(outbox.topic("t"), b"of an open transaction", partition=record.partition())
    producer.flush(20)
    with pytest.raises(pytest.fail.Exception) as raised:
        outbox.until_read(2, within_s=0)
    producer.abort_transaction(20)
    said = str(raised.value)
    for part in (
        "not within 0 s: 2 records; asked ",
        "1 records found",
        f"connector {outbox.name}: STREAMING, 1 rows in 1 batches, stored 0/",
        f"slot: slot_name {outbox.name}, active_pid ",
        "sender: pid ",
        "backend_type walsender",
        "log: inserted 0/",
        "0 to 2 committed, 3 written",
        "carrier.py",
    ):
        assert part in said, said
    assert running.end() == 0
