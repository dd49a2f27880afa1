"""Kafka, PostgreSQL and Valkey on this machine, from packages: for one machine only, not for production."""
