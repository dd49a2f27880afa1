"""Which tables a connector reads: several, of any name and schema, partitioned ones by root or by partition."""

from typing import Any

import orjson
import pytest

from connectors.outbox.config import DebeziumPlacement, Form, parse_table, quoted_table
from connectors.outbox.debezium import Overrides, debezium_config
from connectors.outbox.debezium_file import Options
from connectors.outbox.errors import BadOption, PublicationNarrow
from connectors.outbox.outboxes import find_tables

COLUMNS = "id int, aggregatetype text, aggregateid text, type text, payload text"
PARTITIONED = f"create table outbox ({COLUMNS}) partition by range (id)"


def insert(table: str, *ids: int, kind: str = "t") -> list[str]:
    return [
        f"insert into {table} (id, aggregatetype, aggregateid, payload) values ({n}, '{kind}', 'k', 'p{n}')"
        for n in ids
    ]


def values(records: list[Any]) -> list[str]:
    return sorted(record.value().decode() for record in records)


def test_several_tables_of_any_name_in_any_schema_come_out_of_one_connector(bare_outbox: Any) -> None:
    names = ("public.outbox", 'sales."out.box"', 'public."Out""Box"')
    bare_outbox.sql("create schema sales", *(f"create table {name} ({COLUMNS})" for name in names))
    bare_outbox.sql(*(insert(name, at)[0] for at, name in enumerate(names)))
    running = bare_outbox.start(table=names[0], more_tables=names[1:]).until_ready()
    bare_outbox.sql(*(insert(name, 10 + at)[0] for at, name in enumerate(names)))
    assert values(bare_outbox.until_read(6)) == ["p0", "p1", "p10", "p11", "p12", "p2"]
    assert running.end() == 0


def test_a_publication_of_all_tables_is_read_for_the_outbox_alone(bare_outbox: Any) -> None:
    bare_outbox.sql(f"create table outbox ({COLUMNS})", f"create table other ({COLUMNS})")
    bare_outbox.sql(f"create publication {bare_outbox.name}_pub for all tables")
    running = bare_outbox.start().until_ready()
    bare_outbox.sql(*insert("other", 1), *insert("outbox", 2))
    assert values(bare_outbox.until_read(1)) == ["p2"]
    assert running.end() == 0


@pytest.mark.parametrize("what", ["table outbox", "all tables"])
def test_partitions_published_by_their_own_names_are_taken_for_their_root(bare_outbox: Any, what: str) -> None:
    bare_outbox.sql(PARTITIONED, "create table outbox_1 partition of outbox for values from (0) to (10)")
    # Another order of columns than the root's, as a table has that was attached.
    bare_outbox.sql(
        "create table outbox_2 (payload text, type text, id int, aggregateid text, aggregatetype text)",
        "alter table outbox attach partition outbox_2 for values from (10) to (20)",
        f"create publication {bare_outbox.name}_pub for {what}",
        f"create table other ({COLUMNS})",
        "create table not_ours (id int) partition by range (id)",
        "create table not_ours_1 partition of not_ours for values from (0) to (10)",
    )
    running = bare_outbox.start().until_ready()
    bare_outbox.sql(*insert("outbox", 1, 11), "insert into not_ours values (1)", *insert("other", 2))
    bare_outbox.sql("create table outbox_3 partition of outbox for values from (20) to (30)", *insert("outbox", 21))
    assert values(bare_outbox.until_read(3)) == ["p1", "p11", "p21"]
    assert running.end() == 0


def test_a_partition_that_is_not_published_is_named_at_the_start(bare_outbox: Any) -> None:
    bare_outbox.sql(
        PARTITIONED,
        "create table outbox_1 partition of outbox for values from (0) to (10)",
        "create table outbox_2 partition of outbox for values from (10) to (20)",
        f"create publication {bare_outbox.name}_pub for table outbox_1",
    )
    assert bare_outbox.start().exit_code() == PublicationNarrow.exit_code


def test_domains_enumerations_and_not_null_are_looked_up_for_schemas(bare_outbox: Any) -> None:
    bare_outbox.sql(
        "create domain key as bigint not null",
        "create type mood as enum ('sad', 'glad')",
        "create table outbox (id uuid primary key, aggregatetype text, aggregateid key, type mood, payload text not null)",
        "insert into outbox values ('00000000-0000-4000-8000-000000000001', 't', 7, 'glad', 'p')",
    )
    json = Form("json", schemas=True)
    placements = (DebeziumPlacement.parse("type:header"),)
    rules = {"key_form": json, "value_form": json, "header_form": json, "placements": placements}
    running = bare_outbox.start(routing=rules).until_ready()
    bare_outbox.sql("insert into outbox values ('00000000-0000-4000-8000-000000000002', 't', 8, 'sad', 'q')")
    before, after = bare_outbox.until_read(2)
    assert running.end() == 0
    for record, key, value in ((before, 7, "p"), (after, 8, "q")):
        headers = {name: orjson.loads(content)["schema"] for name, content in record.headers()}
        assert orjson.loads(record.key()) == {"schema": {"type": "int64", "optional": False}, "payload": key}
        assert orjson.loads(record.value()) == {"schema": {"type": "string", "optional": False}, "payload": value}
        assert headers["id"]["name"] == "io.debezium.data.Uuid"
        assert headers["type"]["parameters"] == {"allowed": "sad,glad"}


def test_an_include_list_of_regular_expressions_is_looked_up(bare_outbox: Any) -> None:
    bare_outbox.sql(
        "create schema sales",
        f"create table sales.outbox ({COLUMNS})",
        f"create table sales.other ({COLUMNS})",
        f"create table outbox ({COLUMNS}) partition by range (id)",
        "create table outbox_1 partition of outbox for values from (0) to (10)",
    )
    assert find_tables(bare_outbox.url, [r".*\.OUTBOX"]) == [("public", "outbox"), ("sales", "outbox")]
    assert find_tables(bare_outbox.url, [r"public\.outbox_\d+"]) == [("public", "outbox")]
    content = {
        "table.include.list": "sales.out.*",
        "transforms": "o",
        "transforms.o.type": "io.debezium.transforms.outbox.EventRouter",
    }
    given = Overrides(source_url=bare_outbox.url, bootstrap="k:1")
    assert debezium_config(Options.of(content, "a test"), given).tables == (("sales", "outbox"),)
    with pytest.raises(BadOption, match=r"table\.include\.list='no\.such\.\*'"):
        debezium_config(Options.of({**content, "table.include.list": "no.such.*"}, "a test"), given)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("outbox", ("public", "outbox")),
        ("Sales.OutBox", ("Sales", "OutBox")),
        ('"a.b"."c""d"', ("a.b", 'c"d')),
        ('sales."out box"', ("sales", "out box")),
    ],
)
def test_a_table_is_named_with_or_without_quotes(text: str, name: tuple[str, str]) -> None:
    assert parse_table(text) == name
    assert parse_table(quoted_table(*name)) == name


@pytest.mark.parametrize("text", ["", "a.b.c", "a.", '"a', 'a"b'])
def test_what_is_no_table_is_refused(text: str) -> None:
    with pytest.raises(BadOption, match="schema"):
        parse_table(text)
