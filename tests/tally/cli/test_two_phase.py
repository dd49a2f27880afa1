"""Verbs of two-phase commits over two real databases: what they show, what they refuse, and the reason that they keep."""

from __future__ import annotations

import json
import signal
import uuid
from collections.abc import Callable, Iterator
from getpass import getuser
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import Result
from two_phase_pair import Pair, ending
from typer.testing import CliRunner

from producers.store.connections import open_pool
from producers.store.migrating import migrate
from producers.store.tables import Roles
from schemas.codec import AvroCodec
from tally.cli.__main__ import app
from tally.local.databases import PostgresHost

Run = Callable[..., Result]
TRAIL = "select aggregateid, payload from outbox where topic = 'audit-trail' order by created_at"


@pytest.fixture(scope="module")
def urls(postgres: PostgresHost) -> Iterator[dict[str, str]]:
    """Addresses of the databases of orders and payments, for the tests of this file."""
    names = {service: f"{service}_{uuid.uuid4().hex[:10]}" for service in ("orders", "payments")}
    found = {}
    for service, name in names.items():
        database = postgres.create_service(name, lambda role: f"secret-of-{role}")
        migrate(service, database.owner_url, Roles(name, f"{name}_connector"))
        found[service] = database.service_url
    yield found
    for name in names.values():
        postgres.drop_database(name)


@pytest.fixture
def pair(urls: dict[str, str]) -> Iterator[Pair]:
    with (
        open_pool(urls["orders"], "orders") as orders,
        open_pool(urls["payments"], "payments") as payments,
        ending(Pair(urls["orders"], urls["payments"], orders, payments)) as pair,
    ):
        yield pair


@pytest.fixture
def two_phase(urls: dict[str, str], tmp_path: Path) -> Run:
    """`two_phase("list")`: the verb's result."""
    environment = {f"TALLY_{service.upper()}_DATABASE_URL": url for service, url in urls.items()}

    def invoke(*arguments: str, **changes: str) -> Result:
        given = {"TALLY_DATA_DIR": str(tmp_path)} | environment | changes
        return CliRunner().invoke(app, ["two-phase", *arguments], env=given)

    return invoke


def left_at(pair: Pair, step: str) -> tuple[str, str]:
    """What a coordinator that is killed at a step leaves: the transaction, and the id of its row."""
    process, id_ = pair.start(step, signal.SIGKILL)
    process.wait(60)
    (transaction,) = {each.identifier.transaction for there in pair.participants.values() for each in there.prepared()}
    return transaction, id_


def trail_of(pair: Pair, transaction: str) -> list[Any]:
    with pair.orders_pool.connection() as connection:
        rows = connection.execute(TRAIL).fetchall()
    acts = [AvroCodec().decode(bytes(payload)) for subject, payload in rows if subject == transaction]
    return [(act.act, act.by, act.reason) for act in acts]


@pytest.mark.parametrize("verb", ["commit", "rollback", "forget"])
def test_an_act_without_a_reason_is_wrong_usage(two_phase: Run, verb: str) -> None:
    result = two_phase(verb, str(uuid.uuid4()))
    assert result.exit_code == 2
    assert "--reason" in result.stderr


def test_what_is_in_doubt_is_listed_shown_with_what_it_blocks_and_committed_with_a_reason(
    two_phase: Run, pair: Pair
) -> None:
    transaction, id_ = left_at(pair, "before decision")
    (row,) = json.loads(two_phase("list", "-f", "json").stdout)
    assert (row["transaction"], row["decision"], row["prepared"]) == (transaction, "", ["orders", "payments"])
    shown = json.loads(two_phase("show", transaction, "-f", "json").stdout)
    assert "holds rows of commands" in shown["at orders"]
    assert "no logical slot can be created" in shown["at payments"]
    done = two_phase("commit", transaction, "--reason", "the provider has the money", "-f", "json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"orders": "AS_DECIDED", "payments": "AS_DECIDED"})
    assert pair.there(id_) == (True, True)
    assert trail_of(pair, transaction) == [("COMMIT", getuser(), "the provider has the money")]
    refused = two_phase("rollback", transaction, "--reason", "changed my mind")
    assert (refused.exit_code, "decided: COMMIT" in refused.stderr) == (1, True)
    assert len(trail_of(pair, transaction)) == 1


def test_what_only_one_has_prepared_can_be_rolled_back_but_not_committed(two_phase: Run, pair: Pair) -> None:
    transaction, id_ = left_at(pair, "after prepare orders")
    refused = two_phase("commit", transaction, "--reason", "hope")
    assert (refused.exit_code, "not prepared at payments" in refused.stderr) == (1, True)
    assert trail_of(pair, transaction) == []
    assert two_phase("rollback", transaction, "--reason", "half of it lacks").exit_code == 0
    assert pair.there(id_) == (False, False)
    assert trail_of(pair, transaction) == [("ROLLBACK", getuser(), "half of it lacks")]


def test_damage_is_told_by_exit_code_5_listed_and_dismissed_once_with_a_reason(two_phase: Run, pair: Pair) -> None:
    transaction, _ = left_at(pair, "after decision")
    (prepared,) = pair.participants["payments"].prepared()
    with psycopg.connect(pair.payments_url, autocommit=True) as connection:
        connection.execute(f"rollback prepared '{prepared.identifier}'")
    told = two_phase("commit", transaction, "--reason", "as decided")
    assert told.exit_code == 5
    (row,) = json.loads(two_phase("list", "-f", "json").stdout)
    assert row["damage"] == {"payments": "HEURISTIC_ROLLBACK"}
    assert two_phase("forget", transaction, "--reason", "debited by hand").exit_code == 0
    assert two_phase("forget", transaction, "--reason", "again").exit_code == 3
    assert [act for act, _, _ in trail_of(pair, transaction)] == ["COMMIT", "FORGET"]
    assert json.loads(two_phase("list", "-f", "json").stdout) == []


def test_an_unknown_transaction_is_not_found_and_no_id_wrong_usage(two_phase: Run) -> None:
    assert two_phase("show", str(uuid.uuid4())).exit_code == 3
    assert two_phase("rollback", str(uuid.uuid4()), "--reason", "x").exit_code == 3
    assert two_phase("show", "42").exit_code == 2


def test_without_the_orders_database_the_verbs_say_that_it_is_out_of_reach(two_phase: Run) -> None:
    result = two_phase("list", TALLY_ORDERS_DATABASE_URL="postgresql://a:b@127.0.0.1:9/orders")
    assert (result.exit_code, "does not answer" in result.stderr) == (4, True)
