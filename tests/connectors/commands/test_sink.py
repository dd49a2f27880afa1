"""The command sink on a real Kafka and a real PostgreSQL, in processes that are really killed."""

from __future__ import annotations

import signal
from typing import Any

import psycopg

from schemas.codec import AvroCodec
from schemas.messages import DeadLettered

KEYS = [f"order-{n}" for n in range(40)]


def rounds(first: int, last: int) -> list[tuple[str, int]]:
    """Every key once for each number."""
    return [(key, seq) for seq in range(first, last) for key in KEYS]


def letters(place: Any) -> list[DeadLettered]:
    rows = place.ask("select payload from outbox where topic = 'dead-letters' order by created_at")
    return [AvroCodec().decode(payload) for (payload,) in rows]


def test_every_command_counts_once_and_in_order_while_the_sink_is_killed_again_and_again(place: Any) -> None:
    numbers, kills = 150, 6
    place.send(rounds(0, numbers))
    total = numbers * len(KEYS)
    for kill in range(kills):
        sink = place.start()
        place.until_effects(total * (kill + 1) // (2 * kills))
        sink.kill()
    before = place.effects()
    assert before < total
    last = place.start()
    place.until_effects(total)
    assert last.stop() == 0
    assert place.sequences() == {key: list(range(numbers)) for key in KEYS}


def test_a_sink_stopped_inside_its_transaction_that_wakes_up_beside_its_successor_has_no_effect(place: Any) -> None:
    zombie = place.start(instance="a", session_timeout_ms=6_000)
    place.send(rounds(0, 20))
    place.until_effects(200)
    # So many that it is still at work when it is stopped.
    place.send(rounds(20, 120))

    def stopped_inside() -> bool:
        zombie.send(signal.SIGSTOP)
        inside = place.ask(
            "select count(*) from pg_stat_activity where application_name = 'sink-tests'"
            " and datname = current_database() and state = 'idle in transaction'"
        )
        if inside != [(1,)]:
            zombie.send(signal.SIGCONT)
        return bool(inside == [(1,)])

    place.until(stopped_inside, "stopped inside a transaction")
    assert place.effects() < 120 * len(KEYS)
    successor = place.start(instance="b", session_timeout_ms=6_000)
    place.until_effects(120 * len(KEYS))
    zombie.send(signal.SIGCONT)
    place.send(rounds(120, 140))
    place.until_effects(140 * len(KEYS))
    place.until(lambda: "begins anew" in zombie.log.read_text(), "the zombie sees that it lost its place")
    assert zombie.stop() == successor.stop() == 0
    assert place.sequences() == {key: list(range(140)) for key in KEYS}


def test_a_sink_whose_place_in_the_group_another_took_ends_and_does_not_stand_still(place: Any) -> None:
    """Kafka also takes it away from a sink whose commit of offsets was under way while the broker was gone for long."""
    first = place.start(instance="a")
    place.send(rounds(0, 20))
    place.until_effects(20 * len(KEYS))
    twin = place.start(instance="a")
    assert first.process.wait(60) != 0
    assert "Fenced" in first.log.read_text()
    place.send(rounds(20, 40))
    place.until_effects(40 * len(KEYS))
    assert twin.stop() == 0
    assert place.sequences() == {key: list(range(40)) for key in KEYS}


def test_an_undecodable_command_becomes_a_dead_letter_and_the_rest_goes_on(place: Any) -> None:
    place.send(rounds(0, 2), bad={7: b"\x00\x00\x00\x00\x07 no schema has this id"})
    place.start()
    place.until_effects(2 * len(KEYS) - 1)
    # Another partition's commands may be in another batch, here and below.
    place.until(lambda: bool(letters(place)), "a letter")
    (letter,) = letters(place)
    assert (letter.origin, letter.topic, letter.key) == ("sink-tests", place.topic, KEYS[7].encode())
    assert letter.value == b"\x00\x00\x00\x00\x07 no schema has this id"
    assert (letter.error, letter.reason) == ("Undecodable", "schema id 7 is not in schemas/lock.json")
    assert letter.headers["ce_type"] == b"CANCEL_ORDER"
    assert place.sequences()[KEYS[7]] == [1]


def test_a_command_that_its_handler_cannot_have_is_undone_and_set_aside(place: Any) -> None:
    place.send([("order-1", 0), ("poison-1", 0), ("order-1", 1)])
    place.start()
    place.until_effects(2)
    assert place.sequences() == {"order-1": [0, 1]}
    place.until(lambda: bool(letters(place)), "a letter")
    assert [(letter.error, letter.key) for letter in letters(place)] == [("ValueError", b"poison-1")]


def test_a_conflict_is_tried_again_and_leaves_one_effect(place: Any) -> None:
    place.send([("conflict-1", 0), ("conflict-1", 1)])
    place.start()
    place.until_effects(2)
    assert place.sequences() == {"conflict-1": [0, 1]}
    assert letters(place) == []


def test_a_busy_key_waits_in_its_order_and_stops_no_other_key(place: Any) -> None:
    place.ask("insert into busy values ('order-3')")
    with psycopg.connect(place.database_url) as holder:
        holder.execute("select 1 from busy where key = 'order-3' for update")
        sink = place.start()
        place.send(rounds(0, 5))
        place.until_effects(5 * (len(KEYS) - 1))
        assert "order-3" not in place.sequences()
        # Parked commands outlive the process that parked them.
        sink.kill()
        place.start()
        place.send(rounds(5, 8))
        place.until_effects(8 * (len(KEYS) - 1))
        place.until(lambda: place.ask("select count(*) from parked_commands") == [(8,)], "eight are parked")
    place.until_effects(8 * len(KEYS))
    assert place.sequences() == {key: list(range(8)) for key in KEYS}
    place.until(lambda: place.ask("select count(*) from parked_commands") == [(0,)], "nothing is parked")


def test_at_the_bound_of_parked_commands_the_sink_leaves_the_rest_in_kafka(place: Any) -> None:
    place.ask("insert into busy values ('order-3')")
    with psycopg.connect(place.database_url) as holder:
        holder.execute("select 1 from busy where key = 'order-3' for update")
        place.start(rows_max=5)
        place.send([("order-3", seq) for seq in range(5)])
        place.until(lambda: place.ask("select count(*) from parked_commands") == [(5,)], "five are parked")
        place.until(lambda: "holds" in place.processes[0].log.read_text(), "the sink holds")
        place.send(rounds(5, 6))
    place.until_effects(5 + len(KEYS))
    assert place.sequences()["order-3"] == list(range(6))


def test_a_cut_connection_to_the_database_loses_nothing(place: Any) -> None:
    place.start()
    sent = 0
    for cut in range(5):
        place.send(rounds(cut * 20, cut * 20 + 20))
        sent += 20 * len(KEYS)
        place.until_effects(sent - 10 * len(KEYS))
        place.ask(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'sink-tests' and datname = current_database()"
        )
    place.until_effects(sent)
    assert place.sequences() == {key: list(range(100)) for key in KEYS}


def test_a_database_that_says_more_than_the_topic_holds_stops_the_sink(place: Any) -> None:
    place.ask("insert into sink_positions select %s, p, 17 from generate_series(0, 3) as p", [place.topic])
    sink = place.start()
    assert sink.process.wait(60) == 1
    assert "ends at 0, but the database has worked it up to 17" in sink.log.read_text()
