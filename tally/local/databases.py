"""A database and its three roles per service, on any PostgreSQL server that we are superuser of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from psycopg import errors, sql

SERVICES = ("orders", "payments", "customers")
CONNECT_WITHIN_S = 5


@dataclass(frozen=True, slots=True)
class ServiceDatabase:
    """Addresses of one service's database: for its migrations, for the service itself, for its outbox connector."""

    name: str
    owner_url: str
    service_url: str
    connector_url: str


@dataclass(frozen=True, slots=True)
class PostgresHost:
    """A PostgreSQL server; `superuser_url` names a database of it, usually `postgres`."""

    superuser_url: str

    def url(self, database: str, role: str | None = None, password: str | None = None) -> str:
        """Address of `database` here, as superuser or as `role`."""
        parts = urlsplit(self.superuser_url)
        place = parts.netloc
        if role is not None:
            account = quote(role, safe="") + (f":{quote(password, safe='')}" if password is not None else "")
            place = f"{account}@{parts.netloc.rpartition('@')[2]}"
        return urlunsplit((parts.scheme, place, "/" + quote(database, safe=""), parts.query, ""))

    def create_database(self, name: str, owner: str | None = None) -> str:
        """Create the database where it is not there yet; its address as superuser."""
        with self._connect() as connection:
            if not _exists(connection, "pg_database", "datname", name):
                statement = sql.SQL("create database {}").format(sql.Identifier(name))
                if owner is not None:
                    statement += sql.SQL(" owner {}").format(sql.Identifier(owner))
                connection.execute(statement)
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove the database, with replication slots that nobody reads and with open connections."""
        with self._connect() as connection:
            slots = connection.execute(
                "select slot_name, active_pid from pg_replication_slots where database = %s", [name]
            ).fetchall()
            for slot, active_pid in slots:
                if active_pid is not None:
                    connection.execute("select pg_terminate_backend(%s, 5000)", [active_pid])
                connection.execute("select pg_drop_replication_slot(%s)", [slot])
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))

    def create_role(self, name: str, password: str, *, replication: bool = False) -> None:
        """Create or change a role that may log in; it is given nothing else, but for reading the log if asked."""
        with self._connect() as connection:
            known = _exists(connection, "pg_roles", "rolname", name)
            connection.execute(
                sql.SQL("{} role {} with login {} password {}").format(
                    sql.SQL("alter" if known else "create"),
                    sql.Identifier(name),
                    sql.SQL("replication" if replication else "noreplication"),
                    sql.Literal(password),
                )
            )

    def create_service(self, name: str, password_of: Callable[[str], str]) -> ServiceDatabase:
        """Create or complete the database `name` with its roles `<name>_owner`, `<name>` and `<name>_connector`.

        The owner runs migrations; what the two others may do is granted by these. Nobody else may connect.
        """
        owner, connector = f"{name}_owner", f"{name}_connector"
        for role in (owner, name, connector):
            self.create_role(role, password_of(role), replication=role == connector)
        self.create_database(name, owner)
        with self._connect() as connection:
            database = sql.Identifier(name)
            connection.execute(sql.SQL("revoke all on database {} from public").format(database))
            connection.execute(
                sql.SQL("grant connect on database {} to {}, {}").format(
                    database, sql.Identifier(name), sql.Identifier(connector)
                )
            )
        return ServiceDatabase(name, *(self.url(name, role, password_of(role)) for role in (owner, name, connector)))

    def answers(self) -> bool:
        """Whether the server accepts connections now."""
        try:
            with psycopg.connect(self.superuser_url, connect_timeout=CONNECT_WITHIN_S) as connection:
                connection.execute("select 1")
        except (psycopg.OperationalError, errors.CannotConnectNow):
            return False
        return True

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(self.superuser_url, autocommit=True, connect_timeout=CONNECT_WITHIN_S)


def _exists(connection: psycopg.Connection[tuple[object, ...]], catalogue: str, column: str, name: str) -> bool:
    query = sql.SQL("select 1 from {} where {} = %s").format(sql.Identifier(catalogue), sql.Identifier(column))
    return connection.execute(query, [name]).fetchone() is not None
