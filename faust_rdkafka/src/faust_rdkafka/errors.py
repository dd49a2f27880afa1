"""The errors of this transport, and what kind an error of librdkafka is.

TransportError
├── Misconfigured            the program or the topics do not fit together; does not heal by a retry
├── NoDeadLetter             a record could not be handled and there is no hook to set it aside
├── StoreFailed              a table's persistent store cannot be opened, read or written: the process must end
├── EndsTheProcess           a record was in work each time that the process was killed; why its dead letter was made
├── Abandoned                the batch's partitions were taken away; the next owner does its work
└── Fenced                   another instance has taken over, or librdkafka cannot go on: the process must end
"""

from __future__ import annotations

from confluent_kafka import KafkaError, KafkaException

# The group moved on: the consumer will see a rebalance, which brings valid metadata.
EPOCH_CODES = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
    }
)
FENCED_CODES = frozenset(
    {
        KafkaError._FENCED,
        KafkaError._FATAL,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.PRODUCER_FENCED,
        KafkaError.TRANSACTION_COORDINATOR_FENCED,
    }
)


class TransportError(Exception):
    """Anything that this transport raises by itself."""


class Misconfigured(TransportError):
    """Settings or topics that cannot work; the message names them."""


class NoDeadLetter(TransportError):
    """A record could not be handled, and no `dead_letter` hook says what to do with it."""


class StoreFailed(TransportError):
    """A table's persistent store cannot be used: disk full, no permission, held by another process, or damaged (then
    the next start wipes it). Nothing is lost: what it lacks is in the changelog."""


class EndsTheProcess(TransportError):
    """Processes ended without a word while they had this record in work."""


class Abandoned(TransportError):
    """The partitions of the running batch are no longer ours."""


class Fenced(TransportError):
    """The process cannot go on with its transactional or static id."""


def cause(error: KafkaException) -> KafkaError:
    """The KafkaError inside a KafkaException."""
    return error.args[0]


def is_epoch(error: KafkaError) -> bool:
    return error.code() in EPOCH_CODES


def is_fatal(error: KafkaError) -> bool:
    """By its code too: the error of a polled message never has its `fatal` flag set."""
    return bool(error.fatal()) or error.code() in FENCED_CODES
