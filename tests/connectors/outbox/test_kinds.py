"""Columns of every type as Debezium's headers, keys and JSON; the recorded ones are in test_debezium_cases.py."""

import json

import pytest

from connectors.outbox.kinds import TypeModes, kind_of
from connectors.outbox.pgoutput import Column

NUMERIC_10_2 = (10 << 16 | 2) + 4
CASES = [
    # type, modifier, PostgreSQL's text, header, JSON
    (25, -1, "Tëxt", "Tëxt", '"Tëxt"'),
    (16, -1, "t", "true", "true"),
    (23, -1, "42", "42", "42"),
    (701, -1, "100", "100.0", "100.0"),
    (701, -1, "1e+20", "1.0E20", "1.0E20"),
    (700, -1, "NaN", "NaN", '"NaN"'),
    (1700, NUMERIC_10_2, "12.50", "12.50", '"BOI="'),
    (1700, NUMERIC_10_2, "-0.01", "-0.01", '"/w=="'),
    (1700, -1, "12.5", "12.5", '{"scale":1,"value":"fQ=="}'),
    (1700, (20 << 16 | 10) + 4, "0.0000000001", "1E-10", '"AQ=="'),
    (1114, -1, "2024-02-29 12:34:56.123456", "1709210096123456", "1709210096123456"),
    (1114, 3, "2024-02-29 12:34:56.789", "1709210096789", "1709210096789"),
    (1114, -1, "infinity", "9223372036825200000", "9223372036825200000"),
    (1114, -1, "-infinity", "-9223372036832400000", "-9223372036832400000"),
    (1114, 3, "infinity", "9223372036825200000", "9223372036825200000"),
    (1114, -1, "12345-01-01 00:00:00", "327403382400000000", "327403382400000000"),
    (1114, -1, "1969-12-31 23:59:59.999999", "-1", "-1"),
    (1114, -1, "0044-03-15 00:00:00 BC", "-63517824000000000", "-63517824000000000"),
    (1184, -1, "2024-02-29 10:34:56+00", "2024-02-29T10:34:56Z", '"2024-02-29T10:34:56Z"'),
    (1184, -1, "infinity", "infinity", '"infinity"'),
    (1082, -1, "2024-02-29", "19782", "19782"),
    (1082, -1, "infinity", "2147483647", "2147483647"),
    (1082, -1, "1969-12-31", "-1", "-1"),
    (701, -1, "-0", "-0.0", "-0.0"),
    (701, -1, "-Infinity", "-Infinity", '"-Infinity"'),
    (700, -1, "1e-07", "1.0E-7", "1.0E-7"),
    (3904, -1, "[1,5)", "[1,5)", '"[1,5)"'),
    (869, -1, "10.1.2.3/8", "10.1.2.3/8", '"10.1.2.3/8"'),
    (1016, -1, "{}", "[]", "[]"),
    (1182, -1, "{2024-01-01,NULL}", "[19723,null]", "[19723,null]"),
    (1083, -1, "24:00:00", "86400000000", "86400000000"),
    (1083, 0, "12:34:56", "45296000", "45296000"),
    (1266, -1, "12:34:56.5+02", "10:34:56.5Z", '"10:34:56.5Z"'),
    (1266, -1, "24:00:00+00", "00:00:00Z", '"00:00:00Z"'),
    (1266, -1, "24:00:00-02:30", "02:30:00Z", '"02:30:00Z"'),
    (1186, -1, "1 year 2 mons -3 days +04:05:06.7", "36572706700000", "36572706700000"),
    (1186, -1, "-00:00:01.5", "-1500000", "-1500000"),
    (17, -1, "\\x00ff", "AP8=", '"AP8="'),
    (3802, -1, '{"a": [1, null]}', '{"a": [1, null]}', '"{\\"a\\": [1, null]}"'),
    (1560, 1, "1", "true", "true"),
    (1560, 10, "1000000011", "AwI=", '"AwI="'),
    (
        1009,
        -1,
        '{a,"b \\"c\\", d",NULL,"NULL"}',
        '["a","b \\"c\\", d",null,"NULL"]',
        '["a","b \\"c\\", d",null,"NULL"]',
    ),
    (1007, -1, "{{1,2},{3,4}}", "[[1,2],[3,4]]", "[[1,2],[3,4]]"),
    (1007, -1, "[0:1]={1,2}", "[1,2]", "[1,2]"),
    (1231, NUMERIC_10_2, "{1.50}", "[1.50]", '["AJY="]'),
    (1001, -1, '{"\\\\x00ff"}', '["AP8="]', '["AP8="]'),
    (790, -1, "-$1,234.50", "-1234.50", '"/h3G"'),
    (999_999, -1, "a type that is not known", "a type that is not known", '"a type that is not known"'),
]


@pytest.mark.parametrize(("oid", "modifier", "text", "header", "as_json"), CASES)
def test_a_column_comes_out_as_from_debezium(oid: int, modifier: int, text: str, header: str, as_json: str) -> None:
    kind = kind_of(Column("c", oid, modifier), TypeModes())
    content = text.encode()
    assert (content if kind.header is None else kind.header(content)).decode() == header
    assert kind.json(content).decode() == as_json


@pytest.mark.parametrize(
    ("column", "schema"),
    [
        (Column("c", 2950), {"type": "string", "optional": True, "name": "io.debezium.data.Uuid", "version": 1}),
        (Column("c", 1007), {"type": "array", "items": {"type": "int32", "optional": True}, "optional": True}),
        (
            Column("c", 1700, NUMERIC_10_2),
            {
                "type": "bytes",
                "optional": True,
                "name": "org.apache.kafka.connect.data.Decimal",
                "version": 1,
                "parameters": {"scale": "2", "connect.decimal.precision": "10"},
            },
        ),
        (
            Column("c", 70_000, labels=("low", "high")),
            {
                "type": "string",
                "optional": True,
                "name": "io.debezium.data.Enum",
                "version": 1,
                "parameters": {"allowed": "low,high"},
            },
        ),
    ],
)
def test_a_schema_names_debeziums_logical_type(column: Column, schema: dict[str, object]) -> None:
    assert json.loads(kind_of(column, TypeModes()).schema_text(optional=True)) == schema


def test_decimals_and_times_follow_their_handling_modes() -> None:
    numeric = Column("c", 1700, NUMERIC_10_2)
    assert kind_of(numeric, TypeModes(decimals="string")).json(b"12.50") == b'"12.50"'
    assert kind_of(numeric, TypeModes(decimals="double")).json(b"12.50") == b"12.5"
    assert kind_of(numeric, TypeModes(decimal_numeric=True)).json(b"12.50") == b"12.50"
    time = kind_of(Column("c", 1083, 0), TypeModes(times="adaptive_time_microseconds"))
    assert time.json(b"00:00:01") == b"1000000"


@pytest.mark.parametrize(
    ("modifier", "text", "padded"),
    [
        (-1, "2024-02-29 12:00:00+00", "2024-02-29T12:00:00.000000Z"),
        (-1, "2024-02-29 12:34:56.5+00", "2024-02-29T12:34:56.500000Z"),
        (3, "2024-02-29 12:34:56.12+00", "2024-02-29T12:34:56.120Z"),
        (0, "2024-02-29 12:34:56+00", "2024-02-29T12:34:56Z"),
        (-1, "infinity", "infinity"),
    ],
)
def test_a_timestamptz_is_padded_to_its_digits_as_from_debezium(modifier: int, text: str, padded: str) -> None:
    header = kind_of(Column("c", 1184, modifier), TypeModes(padded_zoned=True)).header
    assert header is not None
    assert header(text.encode()) == padded.encode()


@pytest.mark.parametrize(("oid", "text"), [(1009, "{a"), (1009, "a"), (1186, "1 fortnight"), (1114, "now"), (17, "ab")])
def test_a_text_that_postgresql_would_not_write_is_refused(oid: int, text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        kind_of(Column("c", oid), TypeModes()).json(text.encode())
