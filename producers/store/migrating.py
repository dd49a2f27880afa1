"""Migrations by alembic: one environment a service, run as the owner of its database."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from psycopg import sql
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from producers.store.connections import Connection, with_limits
from producers.store.tables import (
    CLEANING,
    CONNECTOR_MAY,
    CONNECTOR_MAY_CLEAN,
    CONNECTOR_MAY_SAY,
    SERVICE_MAY,
    SERVICE_MAY_SEE,
    SERVICE_MAY_SEE_CLEANING,
    TABLES,
    Roles,
    grants,
    limits,
    publication,
)
from schemas.outbox_status import status_sql

PRODUCERS = Path(__file__).parent.parent
SERVICES = ("orders", "payments", "customers")
# Two processes that migrate one database at once do so one after the other; any number will do.
_MIGRATING = 7_411_001


def migrate(service: str, owner_url: str, roles: Roles | None = None) -> None:
    """Brings a service's database to the newest revision; does nothing where it is there already.

    `roles` are those of the local servers unless given: `<service>` and `<service>_connector`.
    Roles that do not exist get nothing. Raises psycopg.Error, LookupError for an unknown service.
    """
    if service not in SERVICES:
        raise LookupError(f"no service is named {service}; there are {', '.join(SERVICES)}")
    config = Config()
    config.set_main_option("script_location", str(PRODUCERS / service / "migrations"))
    config.attributes.update(
        service=service, owner_url=owner_url, roles=roles or Roles(service, f"{service}_connector")
    )
    command.upgrade(config, "head")


def run_environment(environment: Any) -> None:
    """The body of each service's `env.py`: all outstanding revisions in one transaction.

    `environment` is the module `alembic.context`, which stands for alembic's EnvironmentContext.
    """
    owner_url = environment.config.attributes["owner_url"]
    conninfo = with_limits(owner_url, "tally-migrate")
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(conninfo), poolclass=NullPool)
    with engine.connect() as connection, connection.begin():
        connection.exec_driver_sql(f"select pg_advisory_xact_lock({_MIGRATING})")
        environment.configure(connection=connection)
        environment.run_migrations()


def execute(context: MigrationContext, statement: str | sql.Composed) -> None:
    """Statements of a revision, past SQLAlchemy: they are PostgreSQL's own."""
    driver_connection(context).execute(statement.encode() if isinstance(statement, str) else statement)


def driver_connection(context: MigrationContext) -> Connection:
    """psycopg's connection under alembic's."""
    assert context.connection is not None, "revisions run on a connection, never offline"
    found: Any = context.connection.connection.driver_connection
    assert isinstance(found, psycopg.Connection)
    return found


def create_event_store(context: MigrationContext) -> None:
    """The first revision of every service: tables, publication, what each role may do."""
    execute(context, TABLES)
    config = context.environment_context.config  # type: ignore[union-attr] # there always is one: run_environment's
    execute(context, publication(config.attributes["service"]))
    grant(context, SERVICE_MAY, CONNECTOR_MAY)
    connection = driver_connection(context)
    for role in existing_roles(context):
        try:
            with connection.transaction():
                execute(context, limits(role, connection.info.dbname))
        except psycopg.errors.InsufficientPrivilege:
            # An owner may not change other roles unless it was given that right.
            # Nothing is lost: our connections carry the same limits.
            continue


def create_outbox_status(context: MigrationContext) -> None:
    """The view of what became of each outbox row, and the tables that the connector writes for it."""
    execute(context, status_sql("outbox"))
    grant(context, SERVICE_MAY_SEE, CONNECTOR_MAY_SAY)


def allow_cleaning(context: MigrationContext) -> None:
    """The connector may take published rows out of the outbox, and says up to when it did."""
    execute(context, CLEANING)
    grant(context, SERVICE_MAY_SEE_CLEANING, CONNECTOR_MAY_CLEAN)


def grant(
    context: MigrationContext, service_may: Mapping[str, tuple[str, ...]], connector_may: Mapping[str, tuple[str, ...]]
) -> None:
    """Gives the service and the connector their rights on tables, as far as these roles exist."""
    roles = _roles(context)
    existing = existing_roles(context)
    for role, may in ((roles.service, service_may), (roles.connector, connector_may)):
        if role in existing and may:
            execute(context, grants(role, may))


def existing_roles(context: MigrationContext) -> list[str]:
    """Those of our roles that this server knows."""
    roles = _roles(context)
    wanted = [role for role in (roles.service, roles.connector) if role is not None]
    found = driver_connection(context).execute("select rolname from pg_roles where rolname = any(%s)", (wanted,))
    return [row[0] for row in found.fetchall()]


def _roles(context: MigrationContext) -> Roles:
    roles = context.environment_context.config.attributes["roles"]  # type: ignore[union-attr] # as above
    assert isinstance(roles, Roles)
    return roles
