"""Marks the rows of a seat's last batch that Kafka has and the database does not know of."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
import structlog

from connectors.outbox.config import OutboxConfig
from connectors.outbox.polling.batches import BatchRecord, digest
from connectors.outbox.polling.claims import Claims
from connectors.outbox.stored import read_last_record

_log = structlog.get_logger()


def recover(config: OutboxConfig, connection: psycopg.Connection, tables: Sequence[Claims]) -> int:
    """Gives the number of rows that were marked. The seat must be held, and its producer must have taken over.

    Raises psycopg.Error, ProducerLost, StartRefused.
    """
    value = read_last_record(config)
    record = None if value is None else BatchRecord.from_json(value)
    if record is None or not record.numbers or not _was_rolled_back(connection, record.transaction):
        return 0
    table = next((table for table in tables if ".".join(table.table) == record.table), None)
    if table is None or digest(table.keys(record.numbers)) != record.digest:
        _log.warning("the last batch's rows are not in the table as they were; they may come again", table=record.table)
        return 0
    marked = table.mark_published(record.numbers)
    if marked:
        _log.warning("marked rows that were published before the end of the last process", rows=marked)
    return marked


def _was_rolled_back(connection: psycopg.Connection, transaction: int) -> bool:
    """False also where the server no longer knows, or has never known of such a transaction (another database)."""
    try:
        found = connection.execute("select txid_status(%s)", (transaction,)).fetchone()
    except psycopg.errors.InvalidParameterValue:
        return False
    return found is not None and found[0] == "aborted"
