"""The command line of the connector alone: with flags, with a Debezium connector's file, refusing what it does not know."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROCESS = Path(__file__).parent / "connector_process.py"
ROUTER = "io.debezium.transforms.outbox.EventRouter"


def ended(*arguments: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, str(PROCESS), *arguments], capture_output=True, text=True, timeout=120)
    return done.returncode, done.stderr.strip()


def file_of(path: Path, outbox: Any, **changes: str) -> Path:
    """Option names with `__` for the point."""
    options = {
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "plugin.name": "pgoutput",
        "topic.prefix": "shop",
        "slot.name": outbox.name,
        "table.include.list": "public.outbox",
        "transforms": "outbox",
        "transforms.outbox.type": ROUTER,
        "transforms.outbox.route.topic.replacement": outbox.name + ".${routedByValue}",
        "transforms.outbox.table.fields.additional.placement": "type:header:eventType",
    }
    options |= {name.replace("__", "."): value for name, value in changes.items()}
    path.write_text(json.dumps({"name": outbox.name, "config": options}))
    return path


def test_a_debezium_user_moves_with_the_file_they_have(outbox: Any, tmp_path: Path) -> None:
    path = file_of(tmp_path / "connector.json", outbox)
    process = subprocess.Popen(
        [
            *(sys.executable, str(PROCESS), "--debezium-config", str(path)),
            *("--source-url", outbox.url, "--bootstrap", outbox.bootstrap),
        ],
        stderr=subprocess.PIPE,
    )
    outbox.processes.append(process)
    outbox.insert(1, 3)
    records = outbox.until_read(3)
    assert sorted(record.value() for record in records) == [b"1", b"2", b"3"]
    assert [name for name, _ in records[0].headers()] == ["id", "eventType"]
    process.terminate()
    assert process.wait(60) == 0


def test_an_option_that_is_not_known_ends_it_with_one_line(outbox: Any, tmp_path: Path) -> None:
    path = file_of(tmp_path / "connector.json", outbox, nosuch__option="x")
    code, said = ended("--debezium-config", str(path), "--source-url", outbox.url, "--bootstrap", outbox.bootstrap)
    assert code == 2
    assert said == "outbox connector: --debezium-config: nosuch.option='x' is not supported: not known to this version"


@pytest.mark.parametrize("missing", ["--source-url", "--bootstrap"])
def test_without_a_place_to_read_from_or_to_write_to_it_ends(missing: str) -> None:
    given = {"--source-url": "postgresql://x/y", "--bootstrap": "x:1"}
    code, said = ended(*(part for name, value in given.items() if name != missing for part in (name, value)))
    assert (code, said) == (2, f"outbox connector: {missing} is missing")


def test_a_row_that_kafka_cannot_take_is_set_aside_and_the_rest_goes_on(outbox: Any) -> None:
    letters = outbox.topic("letters")
    process = outbox.spawn("--dead-letters", letters)
    outbox.insert(1, 1, topic="no topic/at all")
    outbox.insert(2, 2)
    (letter,) = outbox.until_read(1, letters)
    about = dict(letter.headers())
    assert (letter.key(), about["dead_letter.key"], letter.value()) == (about["dead_letter.row_id"], b"k1", b"1")
    assert b"no legal topic name" in about["dead_letter.reason"]
    assert about["dead_letter.topic"].endswith(b".no topic/at all")
    assert outbox.until_read(1, outbox.topic("t"))[0].value() == b"2"
    process.terminate()
    assert process.wait(60) == 0


def test_without_dead_letters_such_a_row_ends_it(outbox: Any) -> None:
    process = outbox.spawn("--no-dead-letters")
    outbox.insert(1, 1, topic="no topic/at all")
    assert process.wait(60) == 20
