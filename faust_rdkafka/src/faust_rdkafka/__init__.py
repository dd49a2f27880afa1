"""A Faust transport on librdkafka: records in batches, one Kafka transaction per batch, exactly once."""

from .app import App
from .checksums import Checksum
from .codecs import BYTES, JSON, STR, Codec
from .errors import (
    Abandoned,
    EndsTheProcess,
    Fenced,
    Misconfigured,
    NoDeadLetter,
    StoreFailed,
    TransportError,
)
from .fatal import EXIT_FATAL
from .global_table import GlobalTable
from .options import Options
from .partitioner import partition_of
from .records import FAILED, UNDECODABLE, Batch, BatchSchema, RawRecord
from .recovery import TableManager
from .running import run
from .stats import Stats
from .table import Table
from .table_partition import CommittedPartition, TablePartition
from .watching import Lag

__all__ = [
    "App",
    "run",
    "Batch",
    "BatchSchema",
    "RawRecord",
    "UNDECODABLE",
    "FAILED",
    "Table",
    "GlobalTable",
    "TableManager",
    "TablePartition",
    "Checksum",
    "CommittedPartition",
    "Codec",
    "STR",
    "BYTES",
    "JSON",
    "Options",
    "Stats",
    "Lag",
    "EndsTheProcess",
    "partition_of",
    "EXIT_FATAL",
    "TransportError",
    "Misconfigured",
    "NoDeadLetter",
    "StoreFailed",
    "Abandoned",
    "Fenced",
]
