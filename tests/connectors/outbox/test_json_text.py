"""JSON as JsonConverter writes it: Jackson's escapes, Java's numbers, nothing lost of what was written."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.outbox.json_text import infer, java_double, parse, quote, schema_text, without, write

# No exponent of a Decimal has so many digits.
BEYOND = "9" * 30


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("k1", '"k1"'),
        ('a"b\\c/', '"a\\"b\\\\c/"'),
        ("\n\t\x1f\x7f", '"\\n\\t\\u001F\x7f"'),
        ("é😀", '"é\\uD83D\\uDE00"'),
    ],
)
def test_texts_are_escaped_as_jackson_does(text: str, quoted: str) -> None:
    assert quote(text) == quoted


@pytest.mark.parametrize(
    ("text", "java"),
    [
        ("1", "1.0"), ("0", "0.0"), ("-0", "-0.0"), ("1.5", "1.5"), ("100", "100.0"), ("9999999", "9999999.0"),
        ("10000000", "1.0E7"), ("0.001", "0.001"), ("0.0001", "1.0E-4"), ("1e+20", "1.0E20"), ("-1.25e-05", "-1.25E-5"),
        ("123456.789", "123456.789"), ("NaN", "NaN"), ("-Infinity", "-Infinity"),
    ],
)  # fmt: skip
def test_doubles_are_laid_out_as_java_does(text: str, java: str) -> None:
    assert java_double(text) == java


def test_an_exponent_beyond_all_bounds_is_refused() -> None:
    with pytest.raises(ValueError, match="exponent"):
        java_double(f"1E{BEYOND}")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_double_keeps_its_value(number: float) -> None:
    assert float(java_double(repr(number))) == number


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_what_is_written_reads_as_what_was_parsed(value: Any) -> None:
    assert json.loads(write(parse(json.dumps(value)))) == value


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ('{ "b" : 1.50, "a" : 1e3 }', '{"b":1.5,"a":1000.0}'),
        ('{"a":1.23456789012345678901}', '{"a":1.23456789012345678901}'),
        ('{"a":9223372036854775808,"a":1}', '{"a":1}'),
        ("[1e400]", "[1e400]"),
        (f"[1E-{BEYOND}]", f"[1E-{BEYOND}]"),
    ],
)
def test_a_number_is_rewritten_only_when_no_digit_is_lost(text: str, written: str) -> None:
    assert write(parse(text)) == written


@pytest.mark.parametrize("text", ["{", '{"a":1}{"b":2}', "[NaN]", "[" * 100_000])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse(text)


def test_nulls_and_empty_arrays_are_left_out_at_every_depth_when_asked() -> None:
    value = parse('{"a":null,"b":{"c":[],"d":null,"e":[{"f":null}]}}')
    assert write(without(value, nulls=True, empty_arrays=False)) == '{"b":{"c":[],"e":[{}]}}'
    assert write(without(value, nulls=False, empty_arrays=True)) == '{"a":null,"b":{"d":null,"e":[{"f":null}]}}'


def test_a_schema_is_inferred_as_the_event_router_does() -> None:
    schema = schema_text(
        infer(parse('{"i":1,"l":3000000000,"d":1.0,"s":"","o":{"b":true},"a":[{"x":1},{"y":2}]}')), True
    )
    assert json.loads(schema) == {
        "type": "struct",
        "optional": True,
        "fields": [
            {"type": "int32", "optional": True, "field": "i"},
            {"type": "int64", "optional": True, "field": "l"},
            {"type": "double", "optional": True, "field": "d"},
            {"type": "string", "optional": True, "field": "s"},
            {
                "type": "struct",
                "fields": [{"type": "boolean", "optional": True, "field": "b"}],
                "optional": True,
                "name": "o",
                "field": "o",
            },
            {
                "type": "array",
                "items": {
                    "type": "struct",
                    "fields": [
                        {"type": "int32", "optional": True, "field": "x"},
                        {"type": "int32", "optional": True, "field": "y"},
                    ],
                    "optional": True,
                    "name": "a",
                },
                "optional": True,
                "field": "a",
            },
        ],
    }


@pytest.mark.parametrize(
    "text", ['[1,"x"]', "[1,2.5]", "9223372036854775808", '[{"a":1},{"a":"x"}]', "[[1],2]", f"1E-{BEYOND}"]
)
def test_what_has_no_schema_says_so(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        infer(parse(text))
