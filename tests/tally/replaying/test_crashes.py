"""Replays whose process is killed, stalled, interrupted or paused: the next one goes on, each record once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fastavro
import pytest
from replay_source import BODIES, ORDERS, Source, drop_topic, make_topic

from tally.replaying.topics import ORIGIN_HEADER

# At this pace a replay takes most of a minute: long enough that whatever is done to it meets it in its middle.
MORE_ORDERS = 400
ALL = (ORDERS + MORE_ORDERS) * len(BODIES)
RATE = 25

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(source: Source) -> Iterator[Start]:
    """A replay as a process, once it has written something."""
    source.write(MORE_ORDERS)
    started: list[subprocess.Popen[str]] = []

    def begin(id_: str, into: str) -> subprocess.Popen[str]:
        verb = [sys.executable, "-m", "tally.cli", "replay", "run", source.topic, "--into", into, "--yes"]
        process = subprocess.Popen(
            [*verb, "--id", id_, "--rate", str(RATE)],
            env={**os.environ, "TALLY_KAFKA_BOOTSTRAP": source.kafka},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        while written(source, id_) == 0:
            assert process.poll() is None, process.communicate()
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def written(source: Source, id_: str) -> int:
    result = source.run("status", id_, "-f", "json")
    return int(json.loads(result.stdout)["written"]) if result.exit_code == 0 else 0


def of_topic(source: Source, name: str) -> Counter[str]:
    return Counter((dict(record.headers)[ORIGIN_HEADER] or b"").decode() for record in source.read(name))


def of_lines(_: Source, name: str) -> Counter[str]:
    return Counter(place(json.loads(line)) for line in Path(name).read_text().splitlines())


def of_container(_: Source, name: str) -> Counter[str]:
    with Path(name).open("rb") as file:
        return Counter(place(row) for row in fastavro.reader(file))


def place(row: Any) -> str:
    return f"{row['topic']}/{row['partition']}/{row['offset']}"


def once_each(source: Source) -> Counter[str]:
    found = Counter(f"{r.topic}/{r.partition}/{r.offset}" for r in source.read(source.topic))
    assert len(found) == ALL
    return found


@pytest.mark.parametrize(
    ("kind", "suffix", "found"),
    [("topic", "", of_topic), ("file", ".jsonl", of_lines), ("file", ".avro", of_container)],
)
def test_after_a_kill_each_record_is_there_exactly_once(
    source: Source,
    id_: str,
    start: Start,
    tmp_path: Path,
    kind: str,
    suffix: str,
    found: Callable[[Source, str], Counter[str]],
) -> None:
    name = source.another() if kind == "topic" else str(tmp_path / f"orders{suffix}")
    process = start(id_, f"{kind}:{name}")
    process.kill()
    process.wait(60)
    assert 0 < written(source, id_) < ALL
    if kind == "file":
        # What a killed process had written and not accounted for.
        with Path(name).open("ab") as file:
            file.write(b"half a reco")
    done = source.document("run", "--resume", id_, "--rate", "100000")
    assert (done["state"], done["written"], done["left"]) == ("DONE", ALL, 0)
    assert found(source, name) == once_each(source)


def test_a_stalled_process_that_comes_back_changes_nothing_more(source: Source, id_: str, start: Start) -> None:
    copy = source.another()
    process = start(id_, f"topic:{copy}")
    process.send_signal(signal.SIGSTOP)
    done = source.document("run", "--resume", id_, "--rate", "100000")
    assert done["state"] == "DONE"
    process.send_signal(signal.SIGCONT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, "another process has replay" in said) == (1, True), said
    assert of_topic(source, copy) == once_each(source)
    assert source.document("status", id_)["state"] == "DONE"


def test_a_file_has_one_process_and_an_interrupt_pauses_it(
    source: Source, id_: str, start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "orders.jsonl"
    process = start(id_, f"file:{path}")
    refused = source.run("run", "--resume", id_)
    assert (refused.exit_code, "another process" in refused.stderr) == (1, True)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, f"--resume {id_}" in said) == (130, True), said
    standing = source.document("status", id_)
    assert (standing["state"], len(path.read_text().splitlines())) == ("PAUSED", standing["written"])
    source.document("run", "--resume", id_, "--rate", "100000")
    assert of_lines(source, str(path)) == once_each(source)


def test_a_pause_from_elsewhere_ends_the_process_and_a_cut_file_is_not_gone_on_with(
    source: Source, id_: str, start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "orders.jsonl"
    process = start(id_, f"file:{path}")
    assert source.run("forget", id_).exit_code == 2
    again = source.run("run", source.topic, "--id", id_)
    assert (again.exit_code, "there is such a replay, RUNNING" in again.stderr) == (2, True)
    source.wish(id_, b"a wish that nobody can read")
    paused = source.document("pause", id_, "--reason", "too much at noon")
    process.communicate(timeout=60)
    assert (paused["state"], process.returncode) == ("PAUSED", 130)
    assert paused["left"] > 0
    assert source.run("pause", id_).exit_code == 2
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    refused = source.run("run", "--resume", id_)
    assert (refused.exit_code, "changed by somebody else" in refused.stderr) == (1, True)
    path.unlink()
    assert source.run("run", "--resume", id_).exit_code == 1
    path.write_bytes(content)
    resumed = source.document("run", "--resume", id_, "--rate", "100000", "--reason", "night")
    assert resumed["written"] == ALL
    assert of_lines(source, str(path)) == once_each(source)
    assert source.run("run", "--resume", id_).exit_code == 2
    assert source.run("forget", id_, "--reason", "the file is there").exit_code == 0
    assert source.run("status", id_).exit_code == 3
    # What was refused meanwhile was not done.
    assert source.acts(id_) == [
        ("START", ""),
        ("PAUSE", "too much at noon"),
        ("RESUME", "night"),
        ("FORGET", "the file is there"),
    ]


def test_a_source_that_is_gone_or_was_made_anew_is_not_gone_on_with(source: Source, id_: str, start: Start) -> None:
    copy = source.another()
    process = start(id_, f"topic:{copy}")
    source.document("pause", id_)
    process.communicate(timeout=60)
    copied = of_topic(source, copy)
    drop_topic(source.kafka, source.topic)
    gone = source.run("run", "--resume", id_)
    assert (gone.exit_code, f"no topic {source.topic}" in gone.stderr) == (3, True), gone.output
    # As many records and more stand there again, so that no offset tells that they are others.
    make_topic(source.kafka, source.topic)
    source.write(2 * (ORDERS + MORE_ORDERS))
    refused = source.run("run", "--resume", id_)
    assert (refused.exit_code, "was made anew" in refused.stderr) == (1, True), refused.output
    assert of_topic(source, copy) == copied
    assert source.document("status", id_)["state"] == "PAUSED"
    assert source.run("forget", id_).exit_code == 0
    assert source.document("run", source.topic, "--into", f"topic:{source.another()}", "--yes")["state"] == "DONE"
