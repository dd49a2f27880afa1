"""Faust over librdkafka: batches, each one Kafka transaction."""
