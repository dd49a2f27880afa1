"""The doctor: what is out of reach or not as it must be is a finding, never an exception."""

from __future__ import annotations

import uuid

import psycopg
import pytest

from producers.two_phase.tables import DECISIONS
from schemas.topics import TOPICS
from tally.doctor import examine
from tally.local.databases import PostgresHost
from tally.settings import Settings

NOWHERE = "127.0.0.1:9"


@pytest.fixture
def database(postgres: PostgresHost) -> str:
    return postgres.create_database(f"doctor_{uuid.uuid4().hex[:8]}")


def settings(kafka: str, database: str, redis_url: str) -> Settings:
    databases = {f"{service}_database_url": database for service in ("orders", "payments", "customers")}
    return Settings(kafka_bootstrap=kafka, redis_url=redis_url, **databases)


def test_servers_out_of_reach_are_findings() -> None:
    report = examine(settings(NOWHERE, f"postgresql://a:secret@{NOWHERE}/b", f"redis://{NOWHERE}/0"))
    assert {finding.check for finding in report.findings} >= {"kafka", "database", "valkey"}
    assert not report.ok
    assert "secret" not in str(report.to_json())


def test_missing_topics_are_findings_and_servers_that_answer_are_none(kafka: str, database: str, valkey: str) -> None:
    report = examine(settings(kafka, database, valkey))
    assert {finding.check for finding in report.findings} <= {"topics", "processes"}
    assert {finding.place for finding in report.findings if finding.check == "topics"} <= TOPICS.keys()
    assert report.figures["kafka brokers"] == 1


def test_a_slot_that_nobody_reads_is_a_finding(kafka: str, postgres: PostgresHost, database: str, valkey: str) -> None:
    slot = f"forgotten_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("select pg_create_logical_replication_slot(%s, 'pgoutput')", [slot])
    try:
        report = examine(settings(kafka, database, valkey))
    finally:
        postgres.drop_database(database.rpartition("/")[2])
    assert f"orders/{slot}" in {finding.place for finding in report.findings if finding.check == "slots"}


def test_a_prepared_transaction_is_a_figure_with_its_age_and_a_finding_that_tells_what_it_blocks_once_it_is_old(
    kafka: str, database: str, valkey: str
) -> None:
    gid = f"left-{uuid.uuid4().hex[:8]}"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("create table held (id int)")
        connection.execute("begin")
        connection.execute("insert into held values (1)")
        connection.execute(f"prepare transaction '{gid}'")
        try:
            report = examine(settings(kafka, database, valkey), prepared_age_s_max=0)
            young = examine(settings(kafka, database, valkey))
        finally:
            connection.execute(f"rollback prepared '{gid}'")
    assert report.figures["orders prepared transactions"] == 1
    assert {f"orders {gid} {what}" for what in ("prepared for s", "pins MB of log", "sessions that wait")} <= set(
        report.figures
    )
    told = {finding.place: finding.message for finding in report.findings if finding.check == "two-phase"}
    for what in ("holds rows of held", "session(s) wait", "of log are pinned", "no logical slot can be created"):
        assert what in told[f"orders/{gid}"]
    assert "two-phase" not in {finding.check for finding in young.findings}


def test_damage_of_a_two_phase_commit_is_a_finding_until_it_is_forgotten(
    kafka: str, database: str, valkey: str
) -> None:
    transaction, damage = uuid.uuid4(), '{"payments": "HEURISTIC_ROLLBACK"}'
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(DECISIONS)
        connection.execute(
            "insert into two_phase_decisions (transaction, coordinator, epoch, outcome, participants, damage)"
            " values (%s, 'test', 1, 'COMMIT', '{orders,payments}', %s)",
            [transaction, damage],
        )
        report = examine(settings(kafka, database, valkey))
        connection.execute("update two_phase_decisions set forgotten_at = now()")
        forgotten = examine(settings(kafka, database, valkey))
    told = {finding.place: finding.message for finding in report.findings if finding.check == "two-phase"}
    assert "HEURISTIC_ROLLBACK" in told[f"orders/{transaction}"]
    assert "two-phase" not in {finding.check for finding in forgotten.findings}
