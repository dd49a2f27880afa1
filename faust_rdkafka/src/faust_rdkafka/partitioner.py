"""Java's default partitioner, for those who must know where a key lives without asking Kafka (KIP-480, murmur2)."""

from __future__ import annotations

_MASK = 0xFFFFFFFF
_M = 0x5BD1E995
_SEED = 0x9747B28C


def murmur2(data: bytes) -> int:
    """Austin Appleby's MurmurHash2 as org.apache.kafka.common.utils.Utils.murmur2 computes it, unsigned."""
    length = len(data)
    h = (_SEED ^ length) & _MASK
    whole = length & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * _M & _MASK
        k = (k ^ k >> 24) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    if length > whole:
        h = (h ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15


def partition_of(key: bytes, partitions: int) -> int:
    """The partition that Java clients, and librdkafka's `murmur2_random`, choose for a key."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
