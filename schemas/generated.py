"""Straight-line codecs: from one schema and one class, the source of an encoder and a decoder, compiled at once.

Interpreting a schema for every message is what makes a general Avro library slow; here it is read once.
What the generator does not cover (`Uncovered`) goes by the Avro library, which is also the oracle in the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, get_args, get_type_hints

from schemas import varints
from schemas.open_twin import open_twin
from schemas.varints import PREFIX_BYTES

Write = Callable[[Any], bytes]
Read = Callable[[bytes], Any]

_MILLIS = {"type": "long", "logicalType": "timestamp-millis"}


class Uncovered(Exception):
    """A schema that the generator has no lines for; the reason names the field's type."""


def writer(cls: type, schema: dict[str, Any], prefix: bytes) -> Write:
    """A function from an instance of `cls` to prefix and body.

    Raises Uncovered. The function raises ValueError, TypeError or AttributeError for a value that does not fit.
    """
    source = _Source()
    source.define("encode(body)")
    parts = _write_record(source, cls, schema, ["PREFIX"])
    source.add(f"return join(({', '.join(parts)},))")
    made: Write = source.compiled("encode", {"PREFIX": prefix, "join": b"".join})
    return made


def reader(cls: type, schema: dict[str, Any]) -> Read:
    """A function from prefix and body to an instance; what the schema lacks of `cls` takes the class's default.

    Raises Uncovered. The function raises ValueError, IndexError, OverflowError or UnicodeError for bytes that
    no writer of the schema wrote. Slices past the end give less than was asked and no error, but the place moves
    on all the same: so one comparison at the end finds whatever was cut.
    """
    source = _Source()
    source.define("decode(buf)")
    source.add(f"pos = {PREFIX_BYTES}")
    build = _read_record(source, cls, schema)
    source.add("if pos != len(buf): raise ends(buf, pos)")
    source.add(f"return {build()}")
    made: Read = source.compiled("decode", {})
    return made


class _Source:
    """Lines of a function under way, with names that are used once."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._depth, self._names = 0, 0
        self.constants: dict[str, Any] = {name: getattr(varints, name) for name in varints.__all__}

    def define(self, signature: str) -> None:
        self._lines.append(f"def {signature}:")
        self._depth = 1

    def add(self, line: str) -> None:
        self._lines.append("    " * self._depth + line)

    def indent(self, by: int = 1) -> None:
        self._depth += by

    def name(self, of: str) -> str:
        self._names += 1
        return f"{of}_{self._names}"

    def constant(self, of: str, value: Any) -> str:
        name = self.name(of)
        self.constants[name] = value
        return name

    def compiled(self, function: str, constants: dict[str, Any]) -> Any:
        scope = {**self.constants, **constants}
        exec(compile("\n".join(self._lines), f"<generated {function}>", "exec"), scope)
        return scope[function]


def _write_record(
    source: _Source, cls: type, schema: dict[str, Any], parts: list[str], body: str = "body"
) -> list[str]:
    """Lines that leave each piece of the body in a name; the names, in order, after those given."""
    for field in schema["fields"]:
        value = source.name(field["name"])
        source.add(f"{value} = {body}.{field['name']}")
        parts += _write(source, field["type"], value, (cls, field["name"]))
    return parts


def _write(source: _Source, type_: Any, value: str, of: tuple[type, str]) -> list[str]:
    if isinstance(type_, list):
        return _write_nullable(source, _other_than_null(type_), value, of)
    if type_ == "string":
        source.add(f"{value} = {value}.encode()")
        return [_size(value), value]
    if type_ == "bytes":
        return [_size(value), value]
    if type_ in ("int", "long"):
        slow = f"write_{type_}({value}, {of[1]!r})"
        return [f"(SMALL[{value}] if type({value}) is int and 0 <= {value} < SMALL_COUNT else {slow})"]
    if type_ == _MILLIS:
        return [f"write_millis({value}, {of[1]!r})"]
    if isinstance(type_, dict) and type_["type"] == "map" and type_["values"] == "bytes":
        return [f"write_map({value})"]
    if isinstance(type_, dict) and type_["type"] == "array":
        return _write_array(source, type_["items"], value, of)
    raise Uncovered(f"{of[1]}: {type_}")


def _write_nullable(source: _Source, type_: Any, value: str, of: tuple[type, str]) -> list[str]:
    joined = source.name(of[1])
    source.add(f"if {value} is None: {joined} = NULL")
    source.add("else:")
    source.indent()
    pieces = _write(source, type_, value, of)
    source.add(f"{joined} = {' + '.join(['SOME', *pieces])}")
    source.indent(-1)
    return [joined]


def _write_array(source: _Source, items: Any, value: str, of: tuple[type, str]) -> list[str]:
    joined, item, pieces = source.name(of[1]), source.name("item"), source.name("pieces")
    source.add(f"{pieces} = []")
    source.add(f"for {item} in {value}:")
    source.indent()
    parts = _write_record(source, _item_class(of, items), items, [], item)
    source.add(f"{pieces} += ({', '.join(parts)},)")
    source.indent(-1)
    source.add(f"{joined} = b''.join({pieces})")
    count = f"(SMALL[len({value})] if len({value}) < SMALL_COUNT else write_long(len({value}), 'count'))"
    # An array is a block with its count, and an empty block; one without items is the empty block alone.
    return [f"({count} if {value} else b'')", joined, "NULL"]


def _read_record(source: _Source, cls: type, schema: dict[str, Any]) -> Callable[[], str]:
    """Lines that leave each field in a name; calling the result adds the lines that build, and names the instance."""
    names = {}
    for field in schema["fields"]:
        value = names[field["name"]] = source.name(field["name"])
        _read(source, field["type"], value, (cls, field["name"]))
    return lambda: _build(source, cls, names)


def _read(source: _Source, type_: Any, value: str, of: tuple[type, str]) -> None:
    if isinstance(type_, list):
        source.add("branch = buf[pos]; pos += 1")
        source.add("if branch > 127: branch, pos = read_varint(buf, pos - 1)")
        source.add(f"if branch == 0: {value} = None")
        source.add("elif branch == 2:")
        source.indent()
        _read(source, _other_than_null(type_), value, of)
        source.indent(-1)
        source.add("else: raise no_branch(branch)")
    elif type_ in ("string", "bytes"):
        source.add("size = buf[pos]; begin = pos + 1")
        source.add("if size & 129: size, begin = read_size(buf, pos); pos = begin + size")
        source.add("else: pos = begin + (size >> 1)")
        source.add(f"{value} = buf[begin:pos]{'.decode()' if type_ == 'string' else ''}")
    elif type_ in ("int", "long"):
        _read_number(source, value, type_)
    elif type_ == _MILLIS:
        _read_number(source, value, "long")
        source.add(f"{value} = moment({value})")
    elif isinstance(type_, dict) and type_["type"] == "map" and type_["values"] == "bytes":
        source.add(f"{value}, pos = read_map(buf, pos)")
    elif isinstance(type_, dict) and type_["type"] == "array":
        _read_array(source, type_["items"], value, of)
    else:
        raise Uncovered(f"{of[1]}: {type_}")


def _read_number(source: _Source, value: str, type_: str) -> None:
    source.add("number = buf[pos]; pos += 1")
    source.add(f"if number < 128: {value} = PLAIN[number]")
    source.add("else:")
    source.add("    more = buf[pos]")
    source.add(f"    if more < 128: {value} = PLAIN[number + (more << 7) - 128]; pos += 1")
    source.add(f"    else: {value}, pos = read_{type_}(buf, pos - 1)")


def _read_array(source: _Source, items: Any, value: str, of: tuple[type, str]) -> None:
    cls, count, pieces = _item_class(of, items), source.name("count"), source.name("pieces")
    if not items["fields"]:
        # Items of no bytes: a count alone could then fill the memory.
        raise Uncovered(f"{of[1]}: an array of empty records")
    source.add(f"{pieces} = []")
    source.add("while True:")
    source.indent()
    source.add(f"{count}, pos = read_count(buf, pos)")
    source.add(f"if not {count}: break")
    source.add(f"for _ in range({count}):")
    source.indent()
    built = _read_record(source, cls, items)()
    source.add(f"{pieces}.append({built})")
    source.indent(-2)
    source.add(f"{value} = tuple({pieces})")


def _build(source: _Source, cls: type, names: dict[str, str]) -> str:
    """Lines that make an instance: of a slotted class by its open twin, as its constructor is a third of the whole time."""
    built = source.name("built")
    known = [field.name for field in fields(cls)]
    if "__slots__" not in vars(cls) or not set(known) <= set(names):
        given = ", ".join(f"{name}={names[name]}" for name in known if name in names)
        source.add(f"{built} = {source.constant(cls.__name__, cls)}({given})")
        return built
    twin = open_twin(cls)
    source.add(f"{built} = {source.constant(twin.__name__, twin)}()")
    for name in known:
        source.add(f"{built}.{name} = {names[name]}")
    source.add(f"{built}.__class__ = {source.constant(cls.__name__, cls)}")
    return built


def _item_class(of: tuple[type, str], items: Any) -> type:
    """The class of an array's items, from the hint `tuple[Part, ...]`."""
    hint = get_type_hints(of[0])[of[1]] if of[1] in {field.name for field in fields(of[0])} else None
    found = get_args(hint)[0] if get_args(hint) else None
    if not isinstance(items, dict) or items.get("type") != "record" or not isinstance(found, type):
        raise Uncovered(f"{of[1]}: an array of {items}")
    return found


def _size(value: str) -> str:
    return f"(SMALL[len({value})] if len({value}) < SMALL_COUNT else write_long(len({value}), 'size'))"


def _other_than_null(union: list[Any]) -> Any:
    if len(union) != 2 or union[0] != "null":
        raise Uncovered(f"a union of {union}")
    return union[1]
