"""Copies of the read models in Valkey, made from the tables' changelogs and guarded by their offsets."""

from connectors.copies.config import CopiesConfig
from connectors.copies.metrics import CopiesMetrics
from connectors.copies.sink import CopiesSink

__all__ = ["CopiesConfig", "CopiesMetrics", "CopiesSink"]
