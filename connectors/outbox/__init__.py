"""The outbox connector: carries the rows of a PostgreSQL outbox table to Kafka, each exactly once, in commit order."""

from connectors.outbox.config import Cleaning, DebeziumPlacement, OutboxConfig, Routing, Window
from connectors.outbox.errors import BadOption
from connectors.outbox.metrics import Metrics
from connectors.outbox.polling.options import Polling
from connectors.outbox.refused import LetterRecord, Refusal
from connectors.outbox.run import run
from connectors.outbox.standalone import main_standalone

__all__ = [
    "BadOption",
    "Cleaning",
    "DebeziumPlacement",
    "LetterRecord",
    "Metrics",
    "OutboxConfig",
    "Polling",
    "Refusal",
    "Routing",
    "Window",
    "main_standalone",
    "run",
]
