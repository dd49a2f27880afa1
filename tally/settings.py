"""Settings of every process: a flag, else the environment (`TALLY_…`), else what the running system says of itself.

Read once at a process' start into a frozen object. SettingsError
├── NothingRuns     a value that only a running system has is not to be found; exit code 4
└── WrongSetting    a value that cannot be used; exit code 2
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import AfterValidator, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from tally import endpoints

PREFIX = "TALLY_"
DEFAULT_API_PORT = 8080
# A day: for as long the outbox alone tells an order's history when no worker answers.
DEFAULT_OUTBOX_KEEP_S = 86_400.0
BOOTSTRAP = re.compile(r"[^\s:,]+:\d{1,5}(,[^\s:,]+:\d{1,5})*")

# Names in endpoints.json (interface.md) by our names.
ENDPOINT_BY_SETTING = {
    "kafka_bootstrap": "kafka",
    "redis_url": "redis",
    "api_url": "api",
    "payment_provider_url": "payment_provider",
    **{
        f"{service}_{use}_url": f"{service}_{use}"
        for service in ("orders", "payments", "customers")
        for use in ("database", "owner", "replication")
    },
}


class SettingsError(Exception):
    """A setting is missing or wrong; the message is one line that names it."""


class NothingRuns(SettingsError):
    """The setting `name` has no value, as no system runs here."""

    def __init__(self, name: str) -> None:
        super().__init__(f"nothing runs here; start it with `tally dev` (or set {PREFIX}{name.upper()})")
        self.name = name


class WrongSetting(SettingsError):
    """The setting `name` cannot be used, for `reason`."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{PREFIX}{name.upper()}: {reason}")
        self.name, self.reason = name, reason


def _address(value: str) -> str:
    if not BOOTSTRAP.fullmatch(value):
        raise ValueError("not of the form host:port[,host:port]")
    return value


def _database(value: str) -> str:
    return _url(value, ("postgresql", "postgres"))


def _redis(value: str) -> str:
    return _url(value, ("redis", "rediss", "unix"))


def _web(value: str) -> str:
    return _url(value, ("http", "https"))


def _url(value: str, schemes: tuple[str, ...]) -> str:
    parts = urlsplit(value)
    if parts.scheme not in schemes or not (parts.netloc or parts.scheme == "unix"):
        raise ValueError(f"not a URL of the form {schemes[0]}://…")
    return value


Address = Annotated[str, AfterValidator(_address)]
DatabaseUrl = Annotated[str, AfterValidator(_database)]
RedisUrl = Annotated[str, AfterValidator(_redis)]
WebUrl = Annotated[str, AfterValidator(_web)]
Port = Annotated[int, Field(ge=1, le=65535)]


class _RunningSystem(PydanticBaseSettingsSource):
    """The last source: the endpoints file of the system that runs here, if one does."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False  # all at once in __call__

    def __call__(self) -> dict[str, Any]:
        found = endpoints.find_current()
        document = endpoints.read(found) if found else {}
        return {ours: document[name] for ours, name in ENDPOINT_BY_SETTING.items() if document.get(name)}


class Values(BaseSettings):
    """All settings; None: not known here. Use `Settings`, which says so by name when a value is needed."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, env_ignore_empty=True, extra="forbid")

    kafka_bootstrap: Address | None = None
    orders_database_url: DatabaseUrl | None = None
    payments_database_url: DatabaseUrl | None = None
    customers_database_url: DatabaseUrl | None = None
    orders_owner_url: DatabaseUrl | None = None
    payments_owner_url: DatabaseUrl | None = None
    customers_owner_url: DatabaseUrl | None = None
    orders_replication_url: DatabaseUrl | None = None
    payments_replication_url: DatabaseUrl | None = None
    customers_replication_url: DatabaseUrl | None = None
    redis_url: RedisUrl | None = None
    schema_registry_url: WebUrl | None = None
    data_dir: Path = Path(endpoints.DATA_DIR_NAME)
    api_port: Port = DEFAULT_API_PORT
    api_url: WebUrl | None = None
    payment_provider_url: WebUrl | None = None
    probe_port: Port | None = None
    outbox_keep_s: Annotated[float, Field(ge=0, le=3_650 * 86_400)] = DEFAULT_OUTBOX_KEEP_S

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flag, environment, running system."""
        return init_settings, env_settings, _RunningSystem(settings_cls)


class Settings:
    """What this process is to use. `flags` come from its command line; a flag of None was not given.

    Every property raises `NothingRuns` where the value is not known. Raises `WrongSetting` for one that is wrong.
    """

    __slots__ = ("_flags", "values")

    def __init__(self, **flags: Any) -> None:
        self._flags = {name: value for name, value in flags.items() if value is not None}
        try:
            self.values = Values(**self._flags)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            name = "_".join(str(part) for part in first["loc"]) or "settings"
            raise WrongSetting(name, first["msg"].removeprefix("Value error, ")) from None

    @property
    def kafka_bootstrap(self) -> str:
        """`host:port` of Kafka."""
        return self.need("kafka_bootstrap")

    @property
    def orders_database_url(self) -> str:
        """The orders service's own database, as the service."""
        return self.need("orders_database_url")

    @property
    def payments_database_url(self) -> str:
        """The payments service's own database, as the service."""
        return self.need("payments_database_url")

    @property
    def customers_database_url(self) -> str:
        """The customers service's own database, as the service."""
        return self.need("customers_database_url")

    @property
    def redis_url(self) -> str:
        """Valkey or Redis, for copies."""
        return self.need("redis_url")

    @property
    def payment_provider_url(self) -> str:
        """Base address of the payment provider."""
        return self.need("payment_provider_url")

    @property
    def api_url(self) -> str:
        """Base address of the running API."""
        return self.need("api_url")

    @property
    def schema_registry_url(self) -> str | None:
        """None: ids come from the lock file."""
        return self.values.schema_registry_url

    @property
    def data_dir(self) -> Path:
        """Where local servers keep data and logs."""
        return self.values.data_dir

    @property
    def api_port(self) -> int:
        """Port that the API is to listen on."""
        return self.values.api_port

    @property
    def probe_port(self) -> int | None:
        """Port for probes and metrics of a process that serves nothing else; None: any free one."""
        return self.values.probe_port

    @property
    def outbox_keep_s(self) -> float:
        """Published outbox rows older than this are taken out of the databases; 0: they are kept for ever."""
        return self.values.outbox_keep_s

    def database_url(self, service: str) -> str:
        """A service's database, as the service."""
        return self.need(f"{service}_database_url")

    def owner_url(self, service: str) -> str:
        """A service's database, as its owner: for migrations."""
        return self.need(f"{service}_owner_url")

    def replication_url(self, service: str) -> str:
        """A service's database, as the role that reads its log: for its outbox connector."""
        return self.need(f"{service}_replication_url")

    def need(self, name: str) -> str:
        """The value of `name`. Raises `NothingRuns` when there is none."""
        value = getattr(self.values, name)
        if value is None:
            raise NothingRuns(name)
        return str(value)

    def origin(self, name: str) -> str:
        """Where the value of `name` comes from: `flag`, `environment`, the path of a file, `default` or `not set`."""
        if name in self._flags:
            return "flag"
        if _environment().get(name.upper()):
            return "environment"
        if getattr(self.values, name) is None:
            return "not set"
        found = endpoints.find_current() if name in ENDPOINT_BY_SETTING else None
        return str(found) if found else "default"

    def shown(self, name: str) -> str:
        """The value of `name` for people: passwords are hidden."""
        value = getattr(self.values, name)
        return "" if value is None else without_password(str(value))


def without_password(value: str) -> str:
    """The same address with its password hidden; other text unchanged."""
    try:
        parts = urlsplit(value)
        password = parts.password
    except ValueError:
        return value
    if password is None:
        return value
    account, _, place = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{account.partition(':')[0]}:***@{place}"))


def _environment() -> Mapping[str, str]:
    return {name.upper().removeprefix(PREFIX): value for name, value in os.environ.items() if _is_ours(name)}


def _is_ours(name: str) -> bool:
    return name.upper().startswith(PREFIX)
