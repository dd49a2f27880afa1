"""Failover to a promoted standby: goes on without loss or copies, and stops where the standby lacks what is published."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from connectors.outbox.stored import read_stored_position
from tally.local.child import Command, plain_environment, run_to_end
from tally.local.databases import PostgresHost
from tally.local.ports import HOST
from tally.local.postgres import SUPERUSER, Postgres
from tally.local.postgres_place import make_data_folder

COPIED_WITHIN_S = 120
PHYSICAL_SLOT = "standby"


class Primary(Postgres):
    """Shows its logical slots' readers nothing that the standby does not have."""

    def command(self) -> Command:
        given = super().command()
        return replace(given, arguments=[*given.arguments, "-c", f"synchronized_standby_slots={PHYSICAL_SLOT}"])


class Standby(Postgres):
    """A copy of the primary by pg_basebackup that follows it, its failover slots too."""

    def __init__(self, data_dir: Path, primary: Postgres) -> None:
        super().__init__(data_dir, durable=False)
        self.passwords, self._primary = primary.passwords, primary

    def prepare(self) -> None:
        password = self.passwords.of(SUPERUSER)
        source = f"host={HOST} port={self._primary.port} user={SUPERUSER} password={password} dbname=postgres"
        program = str(self.place.programs / "pg_basebackup")
        make_data_folder(self.place.data, self.place.account)
        arguments = [program, "-d", source, "-D", str(self.place.data), "-R", "-C", "-S", PHYSICAL_SLOT, "-c", "fast"]
        copy = Command("pg_basebackup", arguments, self.log, plain_environment(), self.place.account)
        assert run_to_end(copy, COPIED_WITHIN_S) == 0, self.log.read_text()

    def command(self) -> Command:
        given = super().command()
        more = ["-c", "sync_replication_slots=on", "-c", "hot_standby_feedback=on"]
        return replace(given, arguments=[*given.arguments, *more])

    def sql(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        with psycopg.connect(self.host.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []


@dataclass
class Pair:
    """Both servers, and an outbox whose address names both: whichever takes writes answers."""

    primary: Postgres
    standby: Standby
    outbox: Any
    wait_until: Callable[..., Any]

    def until_slot_is_copied(self) -> None:
        question = (
            f"select 1 from pg_replication_slots where slot_name = '{self.outbox.name}' and synced and not temporary"
        )

        def copied() -> bool:
            # A slot is copied for good once the primary has written a point from which decoding can begin there.
            self.outbox.sql("select pg_log_standby_snapshot()")
            return bool(self.standby.sql(question))

        self.wait_until(copied, "the slot on the standby")

    def fail_over(self) -> None:
        self.primary.kill()
        assert self.standby.sql("select pg_promote(true, 60)") == [(True,)]


@pytest.fixture
def make_pair(
    tmp_path_factory: pytest.TempPathFactory, outbox_on: Any, wait_until: Any
) -> Iterator[Callable[[type[Postgres]], Pair]]:
    made: list[Any] = []

    def folder(name: str) -> Path:
        path: Path = tmp_path_factory.mktemp(name)
        path.chmod(0o755)
        return path

    def make(kind: type[Postgres]) -> Pair:
        primary = kind(folder("primary"), durable=False)
        made.append(primary)
        primary.start()
        standby = Standby(folder("standby"), primary)
        made.append(standby)
        standby.start()
        outbox = outbox_on(primary.host)
        made.append(outbox)
        outbox.host = PostgresHost(standby.superuser_url)
        password = standby.passwords.of(SUPERUSER)
        places = f"{HOST}:{primary.port},{HOST}:{standby.port}"
        outbox.url = f"postgresql://{SUPERUSER}:{password}@{places}/{outbox.name}?target_session_attrs=read-write"
        outbox.create_topic("t")
        return Pair(primary, standby, outbox, wait_until)

    yield make
    try:
        for outbox in made[2:]:
            outbox.close()
    finally:
        for server in reversed(made[:2]):
            server.stop()


def published(outbox: Any) -> list[int]:
    return sorted(int(record.value()) for record in outbox.read(outbox.topic("t")))


def in_table(outbox: Any) -> list[int]:
    return [row[0] for row in outbox.sql("select version from outbox order by version")]


def test_the_connector_goes_on_at_the_promoted_standby_without_loss_or_copies(make_pair: Any) -> None:
    pair = make_pair(Primary)
    outbox = pair.outbox
    running = outbox.start().until_ready()
    outbox.insert(1, 300)
    running.until_rows(300)
    pair.until_slot_is_copied()
    outbox.insert(301, 700)
    pair.fail_over()
    outbox.insert(1001, 1200)
    count = len(in_table(outbox))
    assert count >= 500
    pair.wait_until(lambda: running.codes or len(published(outbox)) >= count, "the rows of both servers")
    assert not running.codes
    assert published(outbox) == in_table(outbox)
    assert read_stored_position(outbox.config()).timeline == 2
    assert running.end() == 0


def test_a_standby_that_lacks_what_is_published_is_refused(make_pair: Any) -> None:
    pair = make_pair(Postgres)
    outbox = pair.outbox
    running = outbox.start().until_ready()
    outbox.insert(1, 20)
    running.until_rows(20)
    pair.until_slot_is_copied()
    pair.standby.sql("alter system set primary_conninfo = ''")
    pair.standby.sql("select pg_reload_conf()")
    pair.wait_until(lambda: not pair.standby.sql("select 1 from pg_stat_wal_receiver"), "the standby cut off")
    outbox.insert(21, 40)
    running.until_rows(40)
    pair.fail_over()
    # The running one sees it too, by itself.
    assert running.exit_code() == 19
    assert outbox.start().exit_code() == 19
    ahead = outbox.start(resume="slot").until_ready()
    outbox.insert(101, 110)
    pair.wait_until(lambda: 110 in published(outbox), "rows of the new history")
    assert ahead.end() == 0
