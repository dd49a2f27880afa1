"""The partition function against the vectors of Kafka's own `UtilsTest.testMurmur2`."""

from __future__ import annotations

import pytest

from schemas.partitioning import murmur2, partition_of

JAVA_VECTORS = [
    (b"21", -973932308),
    (b"foobar", -790332482),
    (b"a-little-bit-long-string", -985981536),
    (b"a-little-bit-longer-string", -1486304829),
    (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
    (b"abc", 479470107),
]


@pytest.mark.parametrize(("key", "signed"), JAVA_VECTORS)
def test_the_hash_is_the_one_that_java_clients_compute(key: bytes, signed: int) -> None:
    assert murmur2(key) == signed % (1 << 32)


def test_a_partition_is_never_negative_and_below_the_count() -> None:
    assert {partition_of(str(number).encode(), 4) for number in range(200)} == {0, 1, 2, 3}
    assert partition_of(b"21", 4) == (-973932308 & 0x7FFFFFFF) % 4
