"""Which partition a key belongs to: murmur2, as Java clients and librdkafka's `murmur2_random` do."""

from __future__ import annotations

from struct import unpack_from

_SEED = 0x9747B28C
_MULTIPLIER = 0x5BD1E995
_ROTATION = 24
_WORD = 0xFFFFFFFF
# Java drops the sign bit rather than take the absolute value, which does not exist for the smallest number.
_WITHOUT_SIGN = 0x7FFFFFFF


def partition_of(key: bytes, partitions: int) -> int:
    """The partition, from 0, of a key that is there (a record without a key goes to any)."""
    return (murmur2(key) & _WITHOUT_SIGN) % partitions


def murmur2(key: bytes) -> int:
    """The hash of `org.apache.kafka.common.utils.Utils.murmur2`, as an unsigned number of 32 bits."""
    length = len(key)
    tail = length & 3
    digest = _SEED ^ length
    # In one piece: a call for each word took longer than its sums, and checks hash every key that there is.
    for word in unpack_from(f"<{length >> 2}I", key):
        word = word * _MULTIPLIER & _WORD
        digest = (digest * _MULTIPLIER & _WORD) ^ ((word ^ word >> _ROTATION) * _MULTIPLIER & _WORD)
    if tail:
        digest = (digest ^ int.from_bytes(key[length - tail :], "little")) * _MULTIPLIER & _WORD
    digest = (digest ^ digest >> 13) * _MULTIPLIER & _WORD
    return digest ^ digest >> 15
