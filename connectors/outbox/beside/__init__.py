"""Duties beside carrying, done between two batches: what the table's readers see of the outbox."""
