"""The rules of routing out of a Debezium connector's options: its EventRouter, what follows on it, and its converters."""

from __future__ import annotations

from collections.abc import Sequence

from connectors.outbox.config import DebeziumPlacement, Form, InvalidOperationRule, JsonMembers, Rename, Routing
from connectors.outbox.debezium_file import Options
from connectors.outbox.debezium_options import ROUTER_ONLY
from connectors.outbox.java_regex import java_pattern
from connectors.outbox.kinds import TypeModes

_ROUTER = "io.debezium.transforms.outbox.EventRouter"
_REGEX_ROUTER = "org.apache.kafka.connect.transforms.RegexRouter"
_PREDICATES = "org.apache.kafka.connect.transforms.predicates."
_CONVERTERS = "org.apache.kafka.connect."
_FORM_BY_CONVERTER = {
    _CONVERTERS + "storage.StringConverter": Form(),
    _CONVERTERS + "storage.SimpleHeaderConverter": Form(),
    _CONVERTERS + "converters.ByteArrayConverter": Form(),
    "io.debezium.converters.BinaryDataConverter": Form(),
    "io.debezium.converters.ByteBufferConverter": Form(),
    _CONVERTERS + "json.JsonConverter": Form("json"),
    _CONVERTERS + "converters.ShortConverter": Form("int16"),
    _CONVERTERS + "converters.IntegerConverter": Form("int32"),
    _CONVERTERS + "converters.LongConverter": Form("int64"),
    _CONVERTERS + "converters.FloatConverter": Form("float"),
    _CONVERTERS + "converters.DoubleConverter": Form("double"),
    _CONVERTERS + "converters.BooleanConverter": Form("boolean"),
}
_BYTES = (_CONVERTERS + "converters.ByteArrayConverter", "io.debezium.converters.")


def routing(options: Options, tables: Sequence[str]) -> Routing:
    """The rules for these tables (schema.table). Raises BadOption."""
    alias, renames = _chain(options, tables)
    prefix = f"transforms.{alias}."
    options.demand_known_values(ROUTER_ONLY, prefix)

    def get(option: str, default: str) -> str:
        return options.get(prefix + option, default)

    ours = Routing()
    placements = DebeziumPlacement.parse_list(get("table.fields.additional.placement", ""))
    value_form = _form(options, "value.converter")
    if any(placement.place == "envelope" for placement in placements):
        _refuse_envelope_of_bytes(options, value_form)
    return Routing(
        id_field=get("table.field.event.id", ours.id_field),
        key_field=get("table.field.event.key", ours.key_field),
        payload_field=get("table.field.event.payload", ours.payload_field),
        timestamp_field=get("table.field.event.timestamp", "") or None,
        schema_version_field=get("table.field.event.schema.version", "") or None,
        placements=placements,
        missing_field="ignore"
        if _is(options, prefix + "table.field.additional.missing", "ignore", "error")
        else "error",
        route_by_field=get("route.by.field", ours.route_by_field),
        route_regex=get("route.topic.regex", ours.route_regex),
        route_replacement=get("route.topic.replacement", ours.route_replacement),
        renames=renames,
        tombstone_on_empty_payload=options.is_true(prefix + "route.tombstone.on.empty.payload"),
        invalid_operation=_invalid_operation(options, prefix),
        key_form=_form(options, "key.converter"),
        value_form=value_form,
        header_form=_form(options, "header.converter"),
        expand_json=options.is_true(prefix + "table.expand.json.payload"),
        json_nulls=_json_nulls(options, prefix),
        json_empty_arrays=_json_empty_arrays(options, prefix),
        types=_types(options),
        schema_prefix=options.get("topic.prefix", options.get("database.server.name")),
    )


def _chain(options: Options, tables: Sequence[str]) -> tuple[str, tuple[Rename, ...]]:
    """(alias of the router, renames that follow on it) of the chain of transforms."""
    aliases = [alias.strip() for alias in options.get("transforms").split(",") if alias.strip()]
    router, renames = "", []
    for alias in aliases:
        kind = options.get(f"transforms.{alias}.type")
        if kind == _ROUTER and not router:
            router = alias
            options.get(f"transforms.{alias}.table.field.event.type")  # the router itself makes no use of it
            _demand_applied(options, alias, tables)
        elif kind == _REGEX_ROUTER and router:
            if options.is_given(f"transforms.{alias}.predicate"):
                raise options.refusal(f"transforms.{alias}.predicate", "only the EventRouter may have a predicate")
            regex, replacement = f"transforms.{alias}.regex", f"transforms.{alias}.replacement"
            renames.append(Rename(options.get(regex), options.get(replacement)))
        else:
            raise options.refusal(
                f"transforms.{alias}.type", "known are one EventRouter and RegexRouters that follow on it"
            )
    if not router:
        raise options.refusal("transforms", f"there must be one of type {_ROUTER}")
    return router, tuple(renames)


def _demand_applied(options: Options, alias: str, tables: Sequence[str]) -> None:
    """A predicate may only say what holds anyway: that the router sees the rows of these tables, and no tombstones."""
    for name in (part.strip() for part in options.get("predicates").split(",") if part.strip()):
        options.get(f"predicates.{name}.type")
        options.get(f"predicates.{name}.pattern")
    negate = options.is_true(f"transforms.{alias}.negate")
    option = f"transforms.{alias}.predicate"
    if not (name := options.get(option)):
        return
    kind = options.get(f"predicates.{name}.type")
    if kind == _PREDICATES + "RecordIsTombstone" and negate:
        return
    if kind != _PREDICATES + "TopicNameMatches":
        raise options.refusal(option, "known are TopicNameMatches and a negated RecordIsTombstone")
    pattern = java_pattern(options.get(f"predicates.{name}.pattern"))
    prefix = options.get("topic.prefix", options.get("database.server.name"))
    for table in tables:
        if (pattern.fullmatch(f"{prefix}.{table}") is not None) == negate:
            raise options.refusal(option, f"rows of {table} would pass unrouted")


def _form(options: Options, role: str) -> Form:
    """The form that a converter writes."""
    default = _CONVERTERS + (
        "storage.SimpleHeaderConverter" if role == "header.converter" else "storage.StringConverter"
    )
    name = options.get(role, default)
    found = _FORM_BY_CONVERTER.get(name)
    if found is None or (role == "header.converter" and found.kind not in ("plain", "json")):
        raise options.refusal(role, "known are the String, ByteArray, BinaryData, Json and number converters")
    for option in ("schemas.cache.size", "replace.null.with.default", "converter.type"):
        options.get(f"{role}.{option}")
    encoding = f"{role}.encoding"
    for option in (encoding, f"{encoding}.serializer", f"{encoding}.deserializer"):
        if options.get(option, "UTF-8").upper() not in ("UTF-8", "UTF8"):
            raise options.refusal(option, "known is UTF-8")
    # What a delegate would convert is never sent.
    for option in options.beginning(f"{role}.delegate.converter.type"):
        options.get(option)
    if found.kind != "json":
        for option in ("schemas.enable", "decimal.format"):
            options.get(f"{role}.{option}")
        return found
    return Form("json", schemas=options.is_true(f"{role}.schemas.enable", "true"))


def _refuse_envelope_of_bytes(options: Options, form: Form) -> None:
    """Debezium dies of each row then; an envelope is JSON."""
    if form.kind not in ("plain", "json") or options.get("value.converter").startswith(_BYTES):
        raise options.refusal("value.converter", "it cannot write an envelope; JsonConverter can")


def _invalid_operation(options: Options, prefix: str) -> InvalidOperationRule:
    names = ("debezium.op.invalid.behavior", "table.op.invalid.behavior")
    option = prefix + next((name for name in names if options.is_given(prefix + name)), names[-1])
    found = options.one_of(option, ("warn", "error", "fatal"), "warn")
    skipped = [part.strip() for part in options.get("skipped.operations", "t").split(",")]
    if unknown := set(skipped) - {"c", "r", "u", "d", "t", "none"}:
        raise options.refusal("skipped.operations", f"{sorted(unknown)[0]} is none of c, u, d, t and none")
    if {"c", "r"} & set(skipped):
        raise options.refusal("skipped.operations", "without inserts there is nothing to send")
    # An update that is skipped never comes to the router.
    if "u" in skipped or found == "warn":
        return "warn"
    return "fatal" if found == "fatal" else "error"


def _json_nulls(options: Options, prefix: str) -> JsonMembers:
    option = prefix + "table.json.payload.null.behavior"
    given = options.is_given(option)
    return "ignore" if given and _is(options, option, "ignore", "optional_bytes") else "keep"


def _json_empty_arrays(options: Options, prefix: str) -> JsonMembers:
    option = prefix + "table.json.payload.empty.array.behavior"
    given = options.is_given(option)
    return "ignore" if given and _is(options, option, "ignore", "optional_string") else "keep"


def _is(options: Options, option: str, value: str, other: str) -> bool:
    return options.one_of(option, (value, other), other) == value


def _types(options: Options) -> TypeModes:
    decimals = options.one_of("decimal.handling.mode", ("precise", "string", "double"), "precise")
    times = options.one_of("time.precision.mode", ("adaptive", "adaptive_time_microseconds"), "adaptive")
    formats = [options.get(f"{role}.converter.decimal.format", "BASE64").upper() for role in ("key", "value", "header")]
    return TypeModes(
        decimals="string" if decimals == "string" else "double" if decimals == "double" else "precise",
        times="adaptive" if times == "adaptive" else "adaptive_time_microseconds",
        decimal_numeric="NUMERIC" in formats,
        padded_zoned=True,
    )
