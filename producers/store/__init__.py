"""The event store: heads, outbox rows and command ids, changed together."""
