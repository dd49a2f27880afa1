"""Proves that Kafka is the event store: every history whole, once, and equal to what is kept elsewhere."""
