"""Rows once more: those that are asked for, once each, aggregate by aggregate, beside the stream and through kills."""

from __future__ import annotations

import signal
import threading
from collections import Counter, defaultdict
from typing import Any

import psycopg
import pytest

from connectors.outbox.republishing.asked import Bounds, Progress, Republish
from connectors.outbox.republishing.asking import ask_republish, cancel, republishing, until_republished

SILENT_MAX_S = 120.0


def started(outbox: Any, **changes: Any) -> Any:
    outbox.create_topic("t")
    dead = outbox.letters()
    given = {"dead_letter_topic": dead.topic, "dead_letter": dead.write, "snapshot_order": ("version",)}
    given |= {"advance_every_s": 0.1}
    return outbox.start(**given | changes).until_ready()


def ended(config: Any, bounds: Bounds, **changes: Any) -> Progress:
    """What came of a request, once it is over."""
    key = ask_republish(config, Republish(bounds, **changes))
    found = until_republished(config, key, SILENT_MAX_S, lambda _: None)
    assert found is not None, "no answer"
    assert key not in republishing(config)
    return found


def by_key(outbox: Any) -> dict[str, list[int]]:
    found = defaultdict(list)
    for record in outbox.read(outbox.topic("t")):
        found[(record.key() or b"none").decode()].append(int(record.value()))
    return dict(found)


def ids(outbox: Any) -> Counter[bytes]:
    return Counter(dict(record.headers())["id"] for record in outbox.read(outbox.topic("t")))


def test_the_whole_table_comes_once_more_with_the_same_ids_and_in_order(outbox: Any) -> None:
    running = started(outbox)
    outbox.insert(1, 50)
    outbox.sql("insert into outbox (aggregatetype, payload, version) values ('t', '51', 51), ('t', '52', 52)")
    running.until_rows(52)
    outbox.sql("update outbox set version = version where version < 10")  # no longer as they lie
    found = ended(running.config, Bounds(), rows_per_second=10_000)
    assert (found.sent, found.refused, found.held, found.fault) == (52, 0, 0, "")
    assert set(ids(outbox).values()) == {2}
    for key, versions in by_key(outbox).items():
        if key == "none":
            # Rows without a key have no order.
            continue
        once, again = versions[: len(versions) // 2], versions[len(versions) // 2 :]
        assert once == again == sorted(again)
    assert running.metrics.republished_total == 52
    assert running.end() == 0


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        (Bounds(aggregate="k1"), {1, 6}),
        (Bounds(aggregate="t/k2"), {2, 7}),
        (Bounds(aggregate="other/k2"), set()),
        (Bounds(since="2020-01-03T00:00:00Z", until="2020-01-05T00:00:00Z"), {3, 4}),
        (Bounds(aggregate="k3", until="2020-01-05T00:00:00Z"), {3}),
    ],
)
def test_bounds_are_kept(outbox: Any, bounds: Bounds, expected: set[int]) -> None:
    running = started(outbox)
    outbox.insert(1, 8)
    outbox.sql("update outbox set created_at = '2020-01-01'::timestamptz + (version - 1) * interval '1 day'")
    running.until_rows(8)
    assert ended(running.config, bounds, dry_run=True).sent == len(expected)
    assert sum(map(len, by_key(outbox).values())) == 8
    assert ended(running.config, bounds).sent == len(expected)
    again = Counter(version for versions in by_key(outbox).values() for version in versions)
    assert {version for version, count in again.items() if count == 2} == expected
    assert running.end() == 0


def test_rows_are_asked_for_by_id_and_a_wrong_one_ends_the_request_alone(outbox: Any) -> None:
    running = started(outbox)
    outbox.insert(1, 8)
    running.until_rows(8)
    wanted = tuple(str(row[0]) for row in outbox.sql("select id from outbox where version in (2, 5)"))
    assert ended(running.config, Bounds(ids=wanted)).sent == 2
    assert "uuid" in ended(running.config, Bounds(ids=("no-uuid",))).fault
    assert "timestamp" in ended(running.config, Bounds(since="2020-01-01T00:00:00Z", time_field="version")).fault
    assert {id_.decode() for id_, count in ids(outbox).items() if count == 2} == set(wanted)
    outbox.insert(9, 9)
    running.until_rows(9)
    assert running.end() == 0


def test_a_row_under_way_is_waited_for_so_that_it_comes_last(outbox: Any, wait_until: Any) -> None:
    running = started(outbox)
    outbox.insert(1, 5)
    running.until_rows(5)
    with psycopg.connect(outbox.url) as slow:
        slow.execute("insert into outbox (aggregatetype, aggregateid, payload, version) values ('t', 'k1', '6', 6)")
        outbox.insert(11, 11)
        key = ask_republish(running.config, Republish(Bounds()))
        wait_until(lambda: republishing(running.config).get(key), "asked")
        slow.commit()
    found = until_republished(running.config, key, SILENT_MAX_S, lambda _: None)
    assert found is not None
    assert by_key(outbox)["k1"] == [1, 11, 6, 1, 6, 11]
    assert running.end() == 0


def test_what_is_not_published_is_not_republished_and_what_no_longer_fits_is_counted(outbox: Any) -> None:
    outbox.create_topic("t", 4, **{"max.message.bytes": "20000"})
    dead = outbox.letters()
    given = {"create_topics": False, "advance_every_s": 0.1, "dead_letter_topic": dead.topic, "dead_letter": dead.write}
    running = outbox.start(**given).until_ready()
    for key, size in (("a", 10), ("b", 5_000), ("a", 30_000), ("a", 10)):
        outbox.sql(
            "insert into outbox (aggregatetype, aggregateid, payload) "
            f"values ('t', '{key}', convert_to(lpad('1', {size}), 'utf8'))"
        )
    running.until_rows(4)
    outbox.limit_topic("t", 2_000)
    assert running.end() == 0
    again = outbox.start(**given).until_ready()
    found = ended(again.config, Bounds())
    assert (found.sent, found.refused, found.held) == (1, 1, 2)
    assert again.end() == 0


def test_a_request_that_is_taken_back_ends_where_it_stands(outbox: Any, wait_until: Any) -> None:
    running = started(outbox)
    outbox.insert(1, 60)
    running.until_rows(60)
    key = ask_republish(running.config, Republish(Bounds(), rows_per_second=5))
    wait_until(lambda: republishing(running.config)[key].progress.sent, "begun")
    cancel(running.config, key, republishing(running.config)[key])
    found = until_republished(running.config, key, SILENT_MAX_S, lambda _: None)
    assert found is not None
    assert found.fault == "cancelled"
    assert 0 < found.sent < 60
    assert running.end() == 0


def killed_beside_the_stream(outbox: Any, wait_until: Any, rows: int, kills: int) -> None:
    """Writers go on meanwhile; each old row comes twice, each new one once or twice, and each aggregate ends at its newest."""
    outbox.create_topic("t")
    outbox.create_topic("letters", 1)
    arguments = ("--dead-letters", outbox.topic("letters"))
    config, process = outbox.config(), outbox.spawn(*arguments)
    outbox.sql(
        "insert into outbox (aggregatetype, aggregateid, payload, version) "
        f"select 't', 'k' || i % 200, convert_to(i::text, 'utf8'), i from generate_series(1, {rows}) i"
    )
    outbox.until_read(rows, outbox.topic("t"))
    stop, last = threading.Event(), [rows]

    def write() -> None:
        while not stop.wait(0.01):
            outbox.insert(last[0] + 1, last[0] + 3)
            last[0] += 3

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        key = ask_republish(config, Republish(Bounds(), rows_per_second=rows / 8))
        for kill in range(1, kills + 1):
            wait_until(
                lambda kill=kill, process=process: (
                    process.poll() is not None or republishing(config)[key].progress.sent >= rows * kill // (kills + 2)
                ),
                "so many sent",
            )
            assert process.poll() is None, process.stderr.read().decode()
            process.send_signal(signal.SIGKILL)
            process.wait()
            process = outbox.spawn(*arguments)
        found = until_republished(config, key, SILENT_MAX_S, lambda _: None)
    finally:
        stop.set()
        writer.join()
    assert found is not None
    assert found.fault == ""
    newest = {f"k{n % 5}": n for n in range(last[0] - 4, last[0] + 1)}
    outbox.until_read(last[0] + found.sent, outbox.topic("t"))
    records = by_key(outbox)
    counted = Counter(version for versions in records.values() for version in versions)
    assert all(counted[version] == 2 for version in range(1, rows + 1))
    assert all(counted[version] in (1, 2) for version in range(rows + 1, last[0] + 1))
    assert {key: versions[-1] for key, versions in records.items() if key in newest} == newest
    for versions in records.values():
        first = list(dict.fromkeys(versions))
        assert first == sorted(first), "the stream's own order"


def test_kills_while_republishing_beside_the_stream_leave_neither_copies_nor_gaps(outbox: Any, wait_until: Any) -> None:
    killed_beside_the_stream(outbox, wait_until, rows=2_000, kills=1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twelve_kills_while_republishing_leave_neither_copies_nor_gaps(outbox: Any, wait_until: Any) -> None:
    killed_beside_the_stream(outbox, wait_until, rows=40_000, kills=12)
