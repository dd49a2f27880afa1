"""Migrations: who may do what, and that a second run changes nothing."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from producers.store.connections import SESSION_LIMITS, open_pool, with_limits
from producers.store.migrating import migrate
from producers.store.tables import Roles
from tally.local.databases import ServiceDatabase


@pytest.mark.parametrize(
    "statement",
    [
        "update outbox set type = 'X'",
        "delete from outbox",
        "delete from heads",
        "delete from commands",
        "truncate outbox",
        "create table mine (id int)",
        "drop table outbox",
        "create publication mine for table outbox",
    ],
)
def test_the_service_may_do_no_more_than_it_needs(orders_database: ServiceDatabase, statement: str) -> None:
    with (
        psycopg.connect(orders_database.service_url) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement.encode())


@pytest.mark.parametrize(
    "statement",
    ["select * from heads", "insert into outbox default values", "update outbox set type = 'X'", "truncate outbox"],
)
def test_the_connector_may_read_and_clean_up_the_outbox_and_nothing_else(
    orders_database: ServiceDatabase, statement: str
) -> None:
    with psycopg.connect(orders_database.connector_url) as connection:
        connection.execute("select * from outbox")
        connection.execute("delete from outbox where false")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())


def test_a_row_without_a_topic_goes_to_the_events_of_its_aggregate(orders_database: ServiceDatabase) -> None:
    with psycopg.connect(orders_database.service_url) as connection:
        topic = connection.execute(
            "insert into outbox (id, aggregatetype, aggregateid, type) values (gen_random_uuid(), 'orders', '1', 'X')"
            " returning topic"
        ).fetchone()
    assert topic == ("orders.events",)


def test_the_publication_carries_inserts_of_the_outbox_alone(orders_database: ServiceDatabase) -> None:
    with psycopg.connect(orders_database.connector_url) as connection:
        found = connection.execute(
            "select tablename, pubinsert, pubupdate, pubdelete, pubtruncate"
            " from pg_publication join pg_publication_tables using (pubname) where pubname = 'tally_orders_outbox'"
        ).fetchall()
    assert found == [("outbox", True, False, False, False)]


def test_migrating_again_changes_nothing(orders_database: ServiceDatabase) -> None:
    migrate("orders", orders_database.owner_url, Roles(orders_database.name, None))
    with psycopg.connect(orders_database.owner_url) as connection:
        assert connection.execute("select count(*) from alembic_version").fetchone() == (1,)


def test_roles_that_do_not_exist_get_nothing(new_database: Callable[[str], ServiceDatabase]) -> None:
    database = new_database("customers")
    migrate("customers", database.owner_url, Roles("nobody-of-this-name", None))


def test_an_unknown_service_is_named() -> None:
    with pytest.raises(LookupError, match="no service is named carts"):
        migrate("carts", "postgresql://localhost/carts")


def test_every_session_has_its_waits_bounded(orders_database: ServiceDatabase) -> None:
    pool = open_pool(orders_database.service_url, "bounded")
    with pool.connection() as connection:
        for name, value_ms in SESSION_LIMITS.items():
            found = connection.execute("select setting::int from pg_settings where name = %s", (name,)).fetchone()
            assert found == (value_ms,)
        assert connection.info.get_parameters()["tcp_user_timeout"] == "20000"
        assert connection.info.get_parameters()["keepalives_idle"] == "10"
    pool.close()


def test_what_an_address_says_itself_wins() -> None:
    conninfo = with_limits("postgresql://h/d?connect_timeout=9&options=-c%20lock_timeout%3D7", "test")
    assert "connect_timeout=9" in conninfo
    assert conninfo.index("lock_timeout=1000") < conninfo.index("lock_timeout=7")
