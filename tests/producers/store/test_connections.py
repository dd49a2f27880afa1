"""Connections of the pool: statements that are executed again and again past the library's cursor."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import psycopg
import pytest

from producers.store.connections import Pool, PoolSize, open_pool
from tally.local.databases import ServiceDatabase

KEEP = b"insert into commands (id, scope, body_hash, state, answer) values ($1, $2, $3, 'DONE', $4)"
ID = "6d5f0c4e-3f9b-5d55-9f0e-5d2d0c7a1b11"


def test_a_statement_tells_how_many_rows_it_changed(orders_pool: Pool) -> None:
    rename = b"update commands set scope = $1 where id = $2"
    with orders_pool.each_alone() as connection:
        assert connection.execute_again(rename, ["x", ID]) == 0
        assert connection.execute_again(KEEP, [ID, "tests", "äß", {"ids": [1, None]}]) == 1
        assert connection.execute_again(rename, ["x", ID]) == 1
        kept = connection.execute("select scope, body_hash, answer from commands").fetchall()
    assert kept == [("x", "äß", {"ids": [1, None]})]


def test_a_statement_is_prepared_anew_after_a_rollback(orders_pool: Pool) -> None:
    touch = b"update commands set recorded_at = $1 where false"
    with orders_pool.each_alone() as connection:
        connection.execute_again(touch, [None])
        for _ in range(2):
            with connection.transaction(force_rollback=True):
                connection.execute("select 1", prepare=True)
            connection.execute("select 1")
            assert connection.execute("select count(*) from pg_prepared_statements").fetchone() == (0,)
            assert connection.execute_again(touch, [None]) == 0


def test_what_the_server_says_is_raised_as_the_library_does(orders_pool: Pool) -> None:
    with orders_pool.each_alone() as connection:
        connection.execute_again(KEEP, [ID, "tests", "", {}])
        with pytest.raises(psycopg.errors.UniqueViolation, match="commands_pkey"):
            connection.execute_again(KEEP, [ID, "tests", "", {}])
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute_again(b"delete from nothing", [])


def test_a_text_is_never_cut_at_the_character_nul(orders_pool: Pool) -> None:
    with orders_pool.each_alone() as connection:
        with pytest.raises(psycopg.DataError):
            connection.execute_again(KEEP, [ID, "tests\0or not", "", {}])
        assert connection.execute("select count(*) from commands").fetchone() == (0,)


def test_a_server_that_goes_away_is_out_of_reach(orders_pool: Pool) -> None:
    with pytest.raises(psycopg.OperationalError), orders_pool.each_alone() as connection:
        with socket.socket(fileno=os.dup(connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)
        connection.execute_again(KEEP, [ID, "tests", "", {}])
    with orders_pool.each_alone() as connection:
        assert connection.execute("select count(*) from commands").fetchone() == (0,)


@pytest.fixture
def only_one(orders_database: ServiceDatabase) -> Iterator[Pool]:
    """A pool of one connection: another has a second one as soon as the first is late."""
    pool = open_pool(orders_database.service_url, "orders", PoolSize(1, 1))
    yield pool
    pool.close()


def test_a_connection_has_transactions_after_it_had_none(only_one: Pool) -> None:
    with only_one.each_alone() as connection:
        pid = connection.info.backend_pid
    with pytest.raises(ZeroDivisionError), only_one.connection() as connection:
        assert connection.info.backend_pid == pid
        connection.execute("insert into commands (id, scope, body_hash, state) values (%s, '', '', 'RUNNING')", (ID,))
        raise ZeroDivisionError
    with only_one.each_alone() as connection:
        assert connection.execute("select count(*) from commands").fetchone() == (0,)
