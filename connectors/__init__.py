"""Carries: what the databases commit into Kafka, commands from Kafka into a service, tables into copies."""
