"""The partitioner gives Java's numbers, and librdkafka's."""

from __future__ import annotations

from typing import Any

import pytest
from faust_rdkafka.partitioner import murmur2

from faust_rdkafka import partition_of


@pytest.mark.parametrize(
    ("data", "signed"),
    [  # from Apache Kafka's own UtilsTest.testMurmur2
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_java_s(data: bytes, signed: int) -> None:
    assert murmur2(data) == signed % 2**32


def test_librdkafka_puts_keys_where_partition_of_says(broker: Any) -> None:
    topic = broker.topic("keys")
    broker.send(topic, *[(f"key-{n}", n) for n in range(200)])
    for message in broker.read(topic):
        assert message.partition() == partition_of(message.key(), 4)
