"""What a JVM learns of Kafka once, kept for all later starts: classes in the form that it maps, and which methods are hot.

JEP 483 and 514 (classes), 515 (profiles). A start takes 1.3 s with it, not 3.3 s. The profiles let the second compiler
work from the first second on: without them it takes half a core of two for the first minute, and without that compiler
an order takes twice as long (`bench/orders.py`).
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from tally.local.child import Command, run_to_end
from tally.local.errors import ServerFailed
from tally.local.jars import Lock
from tally.local.kafka import Kafka, archive

TRAINED_WITHIN_S = 120.0
WRITTEN_WITHIN_S = 120.0


def make_archive() -> None:
    """Start a broker that writes down what it learns, give it work, and stop it. Raises ServerFailed."""
    target = archive(Lock.read())
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="training-") as scratch:
        fresh = Path(scratch) / "kafka.aot"
        kafka = Kafka(Path(scratch), jvm_options=(f"-XX:AOTCacheOutput={fresh}",))
        kafka.stop_within_s = WRITTEN_WITHIN_S
        kafka.start()
        try:
            kafka.make_internal_topics()
            _train(kafka)
        finally:
            kafka.stop()
        if not fresh.exists():
            raise ServerFailed(kafka.name, "did not write its archive", kafka.log)
        fresh.rename(target)


def _train(kafka: Kafka) -> None:
    # Its words go where ours go, as the folder of the logs is gone when somebody reads of a failure.
    training = Command(
        "kafka-training",
        [sys.executable, "-m", "tally.local.kafka_training", kafka.bootstrap],
        None,
        dict(os.environ),
    )
    if run_to_end(training, TRAINED_WITHIN_S) != 0:
        raise ServerFailed(kafka.name, "could not be trained", kafka.log)
