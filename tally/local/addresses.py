"""Which servers are given and which are started here, and the addresses of all for our processes and for the user."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tally.local.databases import SERVICES
from tally.local.errors import LocalError
from tally.local.kafka import Kafka
from tally.local.postgres import Postgres
from tally.local.server import Server
from tally.local.valkey import Valkey
from tally.settings import ENDPOINT_BY_SETTING, PREFIX


class Addresses:
    """Settings by name; those of local servers are known from the beginning, those of databases once these exist."""

    def __init__(self, data_dir: Path, given: Mapping[str, str]) -> None:
        self._settings = dict(given)
        self.kafka = None if "kafka_bootstrap" in given else Kafka(data_dir)
        self.postgres = None if _databases_are_given(given) else Postgres(data_dir)
        self.valkey = None if "redis_url" in given else Valkey(data_dir)
        if self.kafka is not None:
            self._settings["kafka_bootstrap"] = self.kafka.bootstrap
        if self.valkey is not None:
            self._settings["redis_url"] = self.valkey.url
        if self.postgres is None:
            self._complete_given_databases()

    @property
    def servers(self) -> tuple[Server, ...]:
        """The local ones, in the order of stopping."""
        return tuple(server for server in (self.valkey, self.kafka, self.postgres) if server is not None)

    @property
    def settings(self) -> Mapping[str, str]:
        """What processes of ours are to be told."""
        return self._settings

    @property
    def document(self) -> dict[str, object]:
        """The addresses as endpoints.json names them."""
        return {name: self._settings[ours] for ours, name in ENDPOINT_BY_SETTING.items() if ours in self._settings}

    def set(self, name: str, value: str) -> None:
        """Add an address that is known only now."""
        self._settings[name] = value

    def create_databases(self) -> None:
        """Make the services' databases and roles on the local PostgreSQL; nothing where databases were given."""
        if self.postgres is None:
            return
        for name, database in self.postgres.create_services().items():
            self._settings[f"{name}_owner_url"] = database.owner_url
            self._settings[f"{name}_database_url"] = database.service_url
            self._settings[f"{name}_replication_url"] = database.connector_url

    def _complete_given_databases(self) -> None:
        """Where no other account is named, the one of the service migrates and reads the log too."""
        for service in SERVICES:
            for use in ("owner", "replication"):
                self._settings.setdefault(f"{service}_{use}_url", self._settings[f"{service}_database_url"])


def _databases_are_given(given: Mapping[str, str]) -> bool:
    names = [f"{service}_database_url" for service in SERVICES]
    missing = [name for name in names if name not in given]
    if missing and len(missing) < len(names):
        listed = ", ".join(f"{PREFIX}{name.upper()}" for name in missing)
        raise LocalError(f"some databases are given and some are not: set {listed} too, or none")
    return not missing
