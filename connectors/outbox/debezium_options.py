"""The options of a Debezium PostgreSQL connector that change nothing here, each group with the reason."""

from __future__ import annotations

# Names, or beginnings of names (those that end with a point).
WITHOUT_EFFECT = (
    # Batches, queues and waits are the window's; there is one task.
    "tasks.max", "poll.interval.ms", "max.batch.size", "max.queue.size", "max.queue.size.in.bytes",
    "offset.flush.interval.ms", "offset.flush.timeout.ms", "offset.storage.", "snapshot.fetch.size",
    "snapshot.max.threads", "snapshot.delay.ms", "streaming.delay.ms", "executor.shutdown.timeout.ms",
    # Errors that pass are tried again for ever, and a fault of the data is never skipped.
    "errors.retry.timeout", "errors.retry.delay.max.ms", "errors.max.retries", "errors.log.enable",
    "errors.log.include.messages", "retriable.restart.connector.wait.ms", "slot.max.retries", "slot.retry.delay.ms",
    # The slot is confirmed by what Kafka has stored, keepalives included: no heartbeat is needed or sent.
    "heartbeat.interval.ms", "heartbeat.action.query", "heartbeat.topics.prefix", "topic.heartbeat.prefix",
    "lsn.flush.mode", "lsn.flush.timeout.ms", "lsn.flush.timeout.action", "flush.lsn.source", "status.update.interval.ms",
    "xmin.fetch.interval.ms", "offset.mismatch.strategy",
    # Always exactly once; a Kafka transaction holds whole database transactions.
    "exactly.once.support", "transaction.boundary", "transaction.boundary.interval.ms", "offsets.storage.topic",
    # Deletes are never routed, and the record's key is the router's.
    "tombstones.on.delete", "message.key.columns", "skip.messages.without.change", "replica.identity.autoset.values",
    # Records other than rows are not sent; context headers are not written.
    "extended.headers.enabled", "topic.transaction", "topic.naming.strategy", "topic.delimiter", "topic.cache.size",
    "include.schema.changes", "include.schema.comments", "include.unknown.datatypes", "schema.refresh.mode",
    "schema.history.internal.", "unavailable.value.placeholder", "toasted.value.placeholder",
    # The snapshot is one read within the snapshot of the slot's making, which locks nothing.
    "snapshot.locking.mode", "snapshot.lock.timeout.ms", "snapshot.isolation.mode", "snapshot.query.mode",
    "snapshot.include.collection.list", "incremental.snapshot.", "read.only",
    "snapshot.tables.order.by.row.count", "query.fetch.size", "connection.validation.timeout.ms", "guardrail.",
    # Signals are refused by the table that would carry them; these only say how one would be read.
    "signal.enabled.channels", "signal.poll.interval.ms", "internal.", "config.action.reload",
    "publish.via.partition.root", "database.query.timeout.ms", "database.tcpKeepAlive", "custom.metric.tags",
)  # fmt: skip

# Options of which only these values are known; the first is Debezium's default.
ONLY = {
    "connector.class": ("io.debezium.connector.postgresql.PostgresConnector", "PostgresConnector", "PostgreSqlConnector"),
    "plugin.name": ("pgoutput",),
    "binary.handling.mode": ("bytes",),
    "interval.handling.mode": ("numeric",),
    "hstore.handling.mode": ("json", "map"),
    "field.name.adjustment.mode": ("none",),
    "schema.name.adjustment.mode": ("none",),
    "sanitize.field.names": ("false",),
    "provide.transaction.metadata": ("false",),
    "slot.drop.on.stop": ("false",),
    "slot.stream.params": ("",),
    "slot.failover": ("false",),
    "event.processing.failure.handling.mode": ("fail",),
    "errors.tolerance": ("none",),
    "notification.enabled.channels": ("",),
    "openlineage.integration.enabled": ("false",),
}  # fmt: skip

# Options of the router of which only these values are known.
ROUTER_ONLY = {
    "type": ("io.debezium.transforms.outbox.EventRouter",),
    "tracing.with.context.field.only": ("false",),
    "tracing.operation.name": ("debezium-read",),
    "tracing.span.context.field": ("tracingspancontext",),
}


def is_without_effect(option: str) -> bool:
    """Whether the option is known and changes nothing here."""
    return any(option == known or (known.endswith(".") and option.startswith(known)) for known in WITHOUT_EFFECT)
