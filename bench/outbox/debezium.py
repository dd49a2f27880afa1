"""The peer that people have: Debezium's connector and EventRouter in Kafka Connect, exactly once, by Maven where it is at hand."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from bench.outbox.carriers import Carrier
from tally.local.databases import PostgresHost
from tally.local.ports import HOST, free_ports

POM = Path(__file__).with_name("debezium_jars") / "pom.xml"
FETCHED_WITHIN_S = 300
UP_WITHIN_S = 120
_ROUTER = "transforms.outbox."
_CONVERTERS = "org.apache.kafka.connect."


def debezium_jars(folder: Path) -> Path | None:
    """The peer's jars in `folder`; None where Java, Maven or the packages are not at hand."""
    if not (shutil.which("java") and shutil.which("mvn")):
        return None
    command = ["mvn", "-q", f"--file={POM}", "dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
    done = subprocess.run(command, capture_output=True, timeout=FETCHED_WITHIN_S, check=False)
    return folder if done.returncode == 0 and any(folder.glob("*.jar")) else None


class Debezium(Carrier):
    """One worker of Kafka Connect with one connector, tuned as far as its options go."""

    kind = "debezium"

    def __init__(self, bootstrap: str, host: PostgresHost, jars: Path) -> None:
        self._jars, self._port = jars, free_ports(1)[0]
        super().__init__(bootstrap, host)

    def command(self) -> list[str]:
        """Behind that of Java."""
        settings = self._jars / f"{self.name}.properties"
        return ["-Xmx1g", "-cp", f"{self._jars}/*", "org.apache.kafka.connect.cli.ConnectDistributed", str(settings)]

    def own_topics(self) -> list[str]:
        return [f"{self.name}-{kind}" for kind in ("configs", "offsets", "status")]

    def launch(self) -> None:
        settings = self._jars / f"{self.name}.properties"
        settings.write_text("".join(f"{name}={value}\n" for name, value in self._worker().items()))
        with (self._jars / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(["java", *self.command()], stdout=log, stderr=log)
        self._put_connector()

    def _put_connector(self) -> None:
        """Waits for the worker. Raises RuntimeError when it does not come up."""
        body, deadline = json.dumps(self._connector()).encode(), time.monotonic() + UP_WITHIN_S
        url = f"http://{HOST}:{self._port}/connectors/{self.name}/config"
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method="PUT")
        while True:
            try:
                with urllib.request.urlopen(request, timeout=UP_WITHIN_S):
                    return
            except (urllib.error.URLError, ConnectionError) as error:
                if time.monotonic() > deadline:
                    reason = error.read().decode() if isinstance(error, urllib.error.HTTPError) else str(error)
                    raise RuntimeError(f"Debezium is not up after {UP_WITHIN_S} s: {reason}") from None
                time.sleep(0.2)

    def _worker(self) -> dict[str, str]:
        topics = {f"{kind}.storage.topic": f"{self.name}-{kind}s" for kind in ("config", "offset")}
        replication = {f"{kind}.storage.replication.factor": "1" for kind in ("config", "offset", "status")}
        return {
            "bootstrap.servers": self.bootstrap,
            "group.id": self.name,
            "listeners": f"http://{HOST}:{self._port}",
            "key.converter": _CONVERTERS + "storage.StringConverter",
            "value.converter": _CONVERTERS + "converters.ByteArrayConverter",
            "exactly.once.source.support": "enabled",
            "connector.client.config.override.policy": "All",
            "status.storage.topic": f"{self.name}-status",
            **topics,
            **replication,
        }

    def _connector(self) -> dict[str, str]:
        database = conninfo_to_dict(self.url)
        return {
            "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
            "database.hostname": str(database["host"]),
            "database.port": str(database.get("port", 5432)),
            "database.user": str(database["user"]),
            "database.password": str(database.get("password", "")),
            "database.dbname": str(database["dbname"]),
            "plugin.name": "pgoutput",
            "slot.name": self.name,
            "publication.name": self.name,
            "publication.autocreate.mode": "filtered",
            "table.include.list": "public.outbox",
            "topic.prefix": self.name,
            "snapshot.mode": "no_data",
            "exactly.once.support": "required",
            "transaction.boundary": "poll",
            "poll.interval.ms": "10",
            "max.batch.size": "8192",
            "max.queue.size": "32768",
            "producer.override.linger.ms": "5",
            "producer.override.batch.size": "262144",
            "transforms": "outbox",
            _ROUTER + "type": "io.debezium.transforms.outbox.EventRouter",
            _ROUTER + "route.topic.replacement": self.name + ".${routedByValue}",
        }
