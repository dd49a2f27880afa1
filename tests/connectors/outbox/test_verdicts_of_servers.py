"""Verdicts that need a server of another kind or a slot that is held: each on a real one, with its way out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from connectors.outbox.metrics import Metrics
from connectors.outbox.stream import Stream
from connectors.outbox.watching import Watcher
from tally.local.child import Command
from tally.local.postgres import Postgres


class OtherPostgres(Postgres):
    """With further settings; a later one of the same name counts."""

    def __init__(self, data_dir: Path, settings: dict[str, str]) -> None:
        super().__init__(data_dir, durable=False)
        self._settings = settings

    def command(self) -> Command:
        given = super().command()
        more = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        return replace(given, arguments=[*given.arguments, *more])


@pytest.fixture
def outbox_with(
    tmp_path_factory: pytest.TempPathFactory, outbox_on: Callable[..., Any]
) -> Iterator[Callable[..., Any]]:
    ends: list[Callable[[], None]] = []

    def make(**settings: str) -> Any:
        folder: Path = tmp_path_factory.mktemp("own_postgres")
        folder.chmod(0o755)
        server = OtherPostgres(folder, settings)
        ends.append(server.stop)
        server.start()
        outbox = outbox_on(server.host)
        ends.append(outbox.close)
        return outbox

    yield make
    for end in reversed(ends):
        end()


def test_a_server_without_logical_decoding_is_refused(outbox_with: Callable[..., Any]) -> None:
    assert outbox_with(wal_level="replica").start().exit_code() == 17


def test_a_slot_whose_log_is_thrown_away_is_refused_and_republishing_is_the_way_out(
    outbox_with: Callable[..., Any], wait_until: Callable[..., Any]
) -> None:
    outbox = outbox_with(max_slot_wal_keep_size="16MB", max_wal_size="32MB", min_wal_size="32MB")
    outbox.insert(1, 3)
    first = outbox.start()
    first.until_rows(3)
    assert first.end() == 0
    outbox.sql("create table other (content text)")
    metrics = Metrics()
    with Watcher(outbox.config(), metrics, every_s=0.05):
        wait_until(lambda: metrics.slot and metrics.slot.safe_wal_bytes is not None, "how much may still be written")

        def is_lost() -> bool:
            outbox.sql(
                "insert into other select repeat('x', 500) from generate_series(1, 20000)",
                "select pg_switch_wal()",
                "checkpoint",
            )
            return bool(metrics.slot and metrics.slot.wal_status == "lost")

        wait_until(is_lost, "the slot lost")
    assert outbox.start(resume="slot").exit_code() == 14
    again = outbox.start(resume="republish")
    again.until_rows(3)
    assert again.end() == 0


def test_a_slot_that_another_reader_keeps_is_refused(outbox: Any) -> None:
    first = outbox.start().until_ready()
    assert first.end() == 0
    role = f"{outbox.name}_role"
    outbox.sql(f"create role {role} login replication password 'p'", f"grant select on outbox to {role}")
    holder = Stream(outbox.config(), Metrics())
    try:
        holder.start(0)
        # It may not end a superuser's process, so it can only wait.
        url = outbox.host.url(outbox.name, role, "p")
        assert outbox.start(source_url=url, takeover_wait_s=0.5).exit_code() == 18
    finally:
        holder.close()
    with psycopg.connect(outbox.url, autocommit=True) as connection:
        connection.execute(f"drop owned by {role}")
        connection.execute(f"drop role {role}")
