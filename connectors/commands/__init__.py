"""The command sink: Kafka commands to a service's handler, each counted once, in order per key."""

from connectors.commands.config import SinkConfig
from connectors.commands.handler import CommandHandler, Connection
from connectors.commands.metrics import SinkMetrics
from connectors.commands.sink import CommandSink, PositionAhead

__all__ = ["CommandHandler", "CommandSink", "Connection", "PositionAhead", "SinkConfig", "SinkMetrics"]
