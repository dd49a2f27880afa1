"""Checks of a running system: what is out of reach, what holds back the log, what has other settings than it must."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

import psycopg
import redis
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from producers.two_phase.inspecting import held
from schemas.topics import TOPICS
from tally import endpoints
from tally.audit.report import Finding, Report
from tally.settings import NothingRuns, Settings

SERVICES = ("orders", "payments", "customers")
ASK_WITHIN_S = 5
PREPARED_TRANSACTIONS_MIN = 1
# A slot that holds back this much log fills a disk: its connector is gone or stuck.
HELD_BACK_MB_MAX = 1024
# A prepared transaction holds its rows; recovery settles it within this.
PREPARED_AGE_S_MAX = 30
# Record times are compared between machines; deadlines are seconds.
CLOCK_APART_S_MAX = 1.0
MB = 1024 * 1024

Row = tuple[object, ...]


class Notes:
    """What the checks have found so far; `figures` are counts and measures by what they are of."""

    def __init__(self) -> None:
        self._findings: list[Finding] = []
        self.figures: dict[str, int | float] = {}

    def add(self, check: str, place: str, message: str) -> None:
        """Note a finding."""
        self._findings.append(Finding(check, place, message))

    @property
    def report(self) -> Report:
        """All of it."""
        return Report(tuple(self._findings), self.figures)


def examine(settings: Settings, prepared_age_s_max: float = PREPARED_AGE_S_MAX) -> Report:
    """All checks; a transaction prepared for longer than `prepared_age_s_max` is a finding. Raises `NothingRuns` when not even an address of Kafka is known; a dead server is a finding."""
    notes = Notes()
    bootstrap = settings.kafka_bootstrap
    _examine_processes(notes)
    _examine_kafka(bootstrap, notes)
    for service in SERVICES:
        _if_known(f"{service}_database_url", settings, partial(_examine_database, service, prepared_age_s_max), notes)
    _if_known("redis_url", settings, _examine_valkey, notes)
    return notes.report


def _if_known(name: str, settings: Settings, check: Callable[[str, Notes], None], notes: Notes) -> None:
    try:
        url = settings.need(name)
    except NothingRuns:
        notes.add("settings", name, "not set")
    else:
        check(url, notes)


def _examine_processes(notes: Notes) -> None:
    found = endpoints.find_current()
    pids = endpoints.read(found).get("pids") if found else None
    if not isinstance(pids, dict):
        return
    dead = [name for name, pid in pids.items() if not endpoints.is_alive(int(pid))]
    for name in dead:
        notes.add("processes", name, f"process {pids[name]} of {found} is gone")
    notes.figures["processes alive"] = len(pids) - len(dead)


def _examine_kafka(bootstrap: str, notes: Notes) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    try:
        metadata = admin.list_topics(timeout=ASK_WITHIN_S)
        present = {name: len(topic.partitions) for name, topic in metadata.topics.items()}
        notes.figures["kafka brokers"] = len(metadata.brokers)
        notes.figures["kafka topics"] = len(present)
        ours = [name for name in TOPICS if name in present]
        for name in sorted(TOPICS.keys() - present.keys()):
            notes.add("topics", name, "missing; `tally topics create` makes it")
        for name in ours:
            if present[name] != TOPICS[name].partitions:
                notes.add("topics", name, f"{present[name]} partitions, must be {TOPICS[name].partitions}")
        for name, key, found, wanted in _wrong_topic_settings(admin, ours):
            notes.add("topics", name, f"{key} is {found}, must be {wanted}")
    except KafkaException as error:
        notes.add("kafka", bootstrap, f"does not answer: {error.args[0].str()}")


def _wrong_topic_settings(admin: AdminClient, names: list[str]) -> Iterator[tuple[str, str, str, str]]:
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    if not resources:
        return
    for resource, answer in admin.describe_configs(resources, request_timeout=ASK_WITHIN_S).items():
        found = answer.result()
        for key, wanted in TOPICS[resource.name].config.items():
            if key in found and found[key].value != wanted:
                yield resource.name, key, found[key].value, wanted


def _examine_database(service: str, prepared_age_s_max: float, url: str, notes: Notes) -> None:
    asked_at_s = time.time()
    try:
        with psycopg.connect(url, connect_timeout=ASK_WITHIN_S, autocommit=True) as connection:
            clock_s = _number(_one(connection, "select extract(epoch from clock_timestamp())::float8"))
            apart_s = max(asked_at_s - clock_s, clock_s - time.time(), 0.0)
            notes.figures[f"{service} clock apart s"] = round(apart_s, 3)
            if apart_s > CLOCK_APART_S_MAX:
                notes.add("clock", service, f"differs from ours by {apart_s:.1f} s")
            _examine_settings(service, connection, notes)
            _examine_slots(service, connection, notes)
            _examine_prepared(service, connection, prepared_age_s_max, notes)
    except psycopg.OperationalError as error:
        notes.add("database", service, f"does not answer: {str(error).strip().splitlines()[-1]}")


def _examine_settings(service: str, connection: psycopg.Connection[Row], notes: Notes) -> None:
    wal_level = _one(connection, "show wal_level")
    if wal_level != "logical":
        notes.add("wal_level", service, f"is {wal_level}, must be logical for the outbox connector")
    prepared_max = int(str(_one(connection, "show max_prepared_transactions")))
    if prepared_max < PREPARED_TRANSACTIONS_MIN:
        notes.add("max_prepared_transactions", service, "is 0: two-phase commit cannot prepare")


def _examine_slots(service: str, connection: psycopg.Connection[Row], notes: Notes) -> None:
    rows = connection.execute(
        "select slot_name, active, wal_status,"
        " pg_wal_lsn_diff(pg_current_wal_lsn(), coalesce(confirmed_flush_lsn, restart_lsn))::float8"
        " from pg_replication_slots where database = current_database()"
    ).fetchall()
    for slot, active, wal_status, held_back in rows:
        held_back_mb = _number(held_back or 0.0) / MB
        notes.figures[f"{service} slot {slot} held back MB"] = round(held_back_mb, 2)
        if not active:
            notes.add("slots", f"{service}/{slot}", f"no connector reads it; it holds back {held_back_mb:.1f} MB")
        if wal_status in ("unreserved", "lost"):
            notes.add("slots", f"{service}/{slot}", f"the log that it needs is {wal_status}")
        elif held_back_mb > HELD_BACK_MB_MAX:
            notes.add("slots", f"{service}/{slot}", f"holds back {held_back_mb:.0f} MB of log")


def _examine_prepared(
    service: str, connection: psycopg.Connection[Row], prepared_age_s_max: float, notes: Notes
) -> None:
    found = held(connection)
    notes.figures[f"{service} prepared transactions"] = len(found)
    for each in found:
        notes.figures[f"{service} {each.gid} prepared for s"] = round(each.age_s, 1)
        notes.figures[f"{service} {each.gid} pins MB of log"] = round(each.pinned_mb, 2)
        notes.figures[f"{service} {each.gid} sessions that wait"] = each.sessions_waiting
        if each.age_s > prepared_age_s_max:
            notes.add("two-phase", f"{service}/{each.gid}", each.told)
    if _one(connection, "select to_regclass('two_phase_decisions') is not null"):
        rows = connection.execute(
            "select transaction::text, damage::text from two_phase_decisions"
            " where damage <> '{}' and forgotten_at is null"
        ).fetchall()
        notes.figures["two-phase transactions with damage"] = len(rows)
        for transaction, damage in rows:
            notes.add(
                "two-phase", f"{service}/{transaction}", f"heuristic damage: {damage}; then `tally two-phase forget`"
            )


def _examine_valkey(url: str, notes: Notes) -> None:
    with redis.Redis.from_url(url, socket_timeout=ASK_WITHIN_S, socket_connect_timeout=ASK_WITHIN_S) as client:
        try:
            memory = client.info("memory")
        except redis.RedisError as error:
            notes.add("valkey", "redis_url", f"does not answer: {type(error).__name__}")
            return
    notes.figures["valkey memory MB"] = round(memory["used_memory"] / MB, 1)


def _one(connection: psycopg.Connection[Row], query: str) -> object:
    row = connection.execute(query).fetchone()
    if row is None:
        raise AssertionError(f"no row: {query}")
    return row[0]


def _number(value: object) -> float:
    if not isinstance(value, int | float):
        raise TypeError(f"not a number: {value!r}")
    return float(value)
