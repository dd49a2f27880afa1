"""Decides: the write side, one folder a service, and the HTTP interface in front of it."""
