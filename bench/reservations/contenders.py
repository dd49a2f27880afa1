"""Who does the work: our worker, and Kafka Streams by Maven where Java and Maven are at hand."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("kafka_streams")
BUILD_WITHIN_S = 300.0


@dataclass(frozen=True, slots=True)
class Task:
    """One run's application id, topics and form on the wire; `folder` is the contender's own."""

    app_id: str
    bootstrap: str
    source: str
    target: str
    form: str
    folder: Path


class Ours:
    """`workers` processes of bench.reservations.worker."""

    def __init__(self, store: str, workers: int = 1) -> None:
        self.name = f"faust_rdkafka, {store} store" + (f", {workers} workers" if workers > 1 else "")
        self._store, self._workers = store, workers

    def commands(self, task: Task) -> list[list[str]]:
        """One command line a process."""
        shared = [task.app_id, task.bootstrap, task.source, task.target, task.form, self._store]
        module = [sys.executable, "-m", "bench.reservations.worker"]
        return [[*module, *shared, str(task.folder / str(n)), str(n)] for n in range(self._workers)]


class KafkaStreams:
    """Exactly once v2, RocksDB with its cache, one thread: its best setting for one instance."""

    name = "Kafka Streams 4.3, RocksDB, cache"

    def __init__(self, build: Path, settings: tuple[str, ...] = ()) -> None:
        self._class_path = f"{build / 'classes'}:{build / 'lib'}/*"
        self._settings = settings

    def commands(self, task: Task) -> list[list[str]]:
        """One command line."""
        arguments = [task.app_id, task.bootstrap, task.source, task.target, task.form, str(task.folder)]
        java = ["java", "-Xmx1g", "-cp", self._class_path, "Reservations"]
        return [[*java, *arguments, *self._settings]]


def kafka_streams(folder: Path, settings: tuple[str, ...] = ()) -> KafkaStreams | None:
    """The peer, built in `folder`; None where Java, Maven or its packages are not at hand."""
    if not (shutil.which("java") and shutil.which("mvn")):
        return None
    maven = [
        "mvn",
        "-q",
        f"--file={SOURCE / 'pom.xml'}",
        f"-Dbuild.folder={folder}",
        "compile",
        "dependency:copy-dependencies",
        f"-DoutputDirectory={folder / 'lib'}",
    ]
    with (folder / "maven.log").open("wb") as log:
        built = subprocess.run(maven, stdout=log, stderr=log, timeout=BUILD_WITHIN_S, check=False)
    if built.returncode:
        print(f"the peer could not be built: {(folder / 'maven.log').read_text()[-500:]}")
        return None
    return KafkaStreams(folder, settings)
