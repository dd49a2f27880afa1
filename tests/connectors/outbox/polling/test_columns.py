"""The columns that polling needs: the printed SQL adds them to a user's own table, and what cannot keep an order is refused."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from connectors.outbox import BadOption, Polling
from connectors.outbox.polling.columns import polling_sql
from connectors.outbox.standalone import config_of

PRINT = "import sys; from connectors.outbox import main_standalone; sys.exit(main_standalone(sys.argv[1:]))"
PLACES = ("--source-url", "postgresql://h/d", "--bootstrap", "h:9092")


def test_the_command_prints_sql_for_the_owner_to_run(outbox: Any) -> None:
    outbox.insert(1, 3)
    printed = subprocess.run(
        [sys.executable, "-c", PRINT, "--table", "public.outbox", "--print-polling-sql"],
        capture_output=True, text=True, check=True, timeout=120,
    ).stdout  # fmt: skip
    outbox.sql(printed)
    outbox.polls()
    running = outbox.start().until_ready()
    running.until_rows(3)
    assert running.end() == 0


@pytest.mark.parametrize(
    ("table", "columns", "options"),
    [
        ('"Odd"."out ""b"".x"', "id uuid default gen_random_uuid()", {}),
        ("parts", "id uuid default gen_random_uuid()", {"partitioned": "partition by hash (aggregateid)"}),
        ("named", "id uuid default gen_random_uuid()", {"order_column": "Place", "status_column": "sent state"}),
    ],
)
def test_any_table_can_be_polled(bare_outbox: Any, table: str, columns: str, options: dict[str, str]) -> None:
    partitioned = options.pop("partitioned", "")
    polling = Polling(**options)
    bare_outbox.sql(
        'create schema "Odd"',
        f"create table {table} ({columns}, aggregatetype text, aggregateid text, payload jsonb, gone text) {partitioned}",
        f"alter table {table} drop column gone",
    )
    if partitioned:
        for part in range(2):
            bare_outbox.sql(
                f"create table parts_{part} partition of {table} for values with (modulus 2, remainder {part})"
            )
    bare_outbox.sql(polling_sql(table, polling))
    for number in range(10):
        bare_outbox.sql(
            f"insert into {table} (aggregatetype, aggregateid, payload) values ('t', 'k{number % 3}', '[{number}]')"
        )
    running = bare_outbox.start(table=table, polling=polling).until_ready()
    running.until_rows(10)
    by_key: dict[bytes, list[bytes]] = {}
    for record in bare_outbox.read(bare_outbox.topic("t")):
        by_key.setdefault(record.key(), []).append(record.value())
    assert by_key == {
        b"k0": [b"[0]", b"[3]", b"[6]", b"[9]"],
        b"k1": [b"[1]", b"[4]", b"[7]"],
        b"k2": [b"[2]", b"[5]", b"[8]"],
    }
    assert running.end() == 0


def test_several_tables_are_polled_by_one_process(polled: Any) -> None:
    polled.sql("create table more (like outbox including defaults including indexes)")
    polled.sql("insert into more (aggregatetype, aggregateid, payload) values ('m', 'a', '1')")
    polled.insert(1, 2)
    running = polled.start(more_tables=("public.more",)).until_ready()
    running.until_rows(3)
    assert len(polled.read(polled.topic("t"))) == 2
    assert len(polled.read(polled.topic("m"))) == 1
    assert running.end() == 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (("alter table outbox drop column status_letter",), "--print-polling-sql"),
        (("alter table outbox alter column number drop not null",), "may be null"),
        (("alter table outbox alter column status drop not null",), "may be null"),
        (("alter sequence outbox_number_seq cache 20",), "cache 20"),
        (("alter table outbox alter column number drop default, alter column number type text",), "not a whole number"),
    ],
)
def test_a_table_that_cannot_keep_an_order_is_refused(
    polled: Any, changes: tuple[str, ...], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    polled.sql(*changes)
    process = polled.spawn()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 22
    assert reason in said.decode()


def test_two_rows_of_one_number_end_the_process(polled: Any) -> None:
    polled.sql(
        "insert into outbox (aggregatetype, aggregateid, payload, number) values ('t', 'a', '1', 7), ('t', 'b', '2', 7)"
    )
    assert polled.start(polling=Polling(rows_max=1)).exit_code() == 22


def test_a_role_that_may_not_update_is_told_so(polled: Any) -> None:
    role = polled.name
    polled.sql(f"create role {role} login password 'x'", f"grant select on outbox to {role}")
    polled.insert(1, 1)
    try:
        parts = polled.url.rpartition("@")
        running = polled.start(source_url=f"postgresql://{role}:x@{parts[2]}")
        assert running.exit_code() == 25
    finally:
        polled.sql(f"drop owned by {role}", f"drop role {role}")


def test_options_that_do_not_go_together_are_refused_by_name() -> None:
    for flags in (("--slot", "s"), ("--publication", "p"), ("--resume", "slot"), ("--snapshot", "initial")):
        with pytest.raises(BadOption, match=flags[0]):
            config_of([*PLACES, "--polling", *flags])
    with pytest.raises(BadOption, match="--forget-position"):
        config_of([*PLACES, "--polling", "--forget-position"])
    for flags in (("--order-column", "n"), ("--status-column", "s"), ("--poll-every-ms", "5")):
        with pytest.raises(BadOption, match=f"{flags[0]} goes with --polling"):
            config_of([*PLACES, *flags])


def test_the_flags_say_which_columns_and_how_often() -> None:
    config = config_of(
        [
            *PLACES,
            "--polling",
            "--order-column",
            "n",
            "--status-column",
            "s",
            "--poll-every-ms",
            "5",
            "--connector-name",
            "c",
        ]
    )
    assert config.polling == Polling(order_column="n", status_column="s", rest_ms=5)
    assert (config.name, config.polling.reason_column, config.polling.letter_column) == ("c", "s_reason", "s_letter")
    assert config_of(PLACES).polling is None
