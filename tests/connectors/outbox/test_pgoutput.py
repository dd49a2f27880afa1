"""The decoder: golden bytes as a server sent them, and that no bytes whatever make it hang or err otherwise."""

import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.outbox.errors import MalformedStream
from connectors.outbox.pgoutput import (
    Begin,
    Column,
    Commit,
    Insert,
    Keepalive,
    LogicalMessage,
    Relation,
    decode,
    read_keepalive,
    status_update,
)

# Of PostgreSQL 15.18, without the frame: create table gold(id uuid, payload bytea), one row with a null.
BEGIN = bytes.fromhex("42000000000198e2b000030408a1b97ebc000002e6")
COMMIT = bytes.fromhex("4300000000000198e2b0000000000198e2e000030408a1b97ebc")
RELATION = bytes.fromhex(
    "52000040107075626c696300676f6c64006400020069640000000b86ffffffff007061796c6f61640000000011ffffffff"
)
INSERT = bytes.fromhex("49000040104e00027400000024") + b"11111111-2222-3333-4444-555555555555" + b"n"
ROW: list[bytes | None] = [b"11111111-2222-3333-4444-555555555555", None]


def insert_of(values: list[bytes | None]) -> bytes:
    parts = [b"n" if value is None else b"t" + struct.pack(">I", len(value)) + value for value in values]
    return b"I" + struct.pack(">I", 7) + b"N" + struct.pack(">H", len(values)) + b"".join(parts)


def test_a_begin_names_its_commit_and_its_time() -> None:
    found = decode(BEGIN)
    assert isinstance(found, Begin)
    assert (found.final_position, found.xid) == (0x0198E2B0, 742)
    assert 1_700_000_000_000_000 < found.committed_at_us < 1_900_000_000_000_000


def test_a_commit_ends_behind_its_record() -> None:
    found = decode(COMMIT)
    assert isinstance(found, Commit)
    assert (found.position, found.end_position) == (0x0198E2B0, 0x0198E2E0)


def test_a_relation_names_its_columns_and_their_types() -> None:
    assert decode(RELATION) == Relation(16400, "public", "gold", (Column("id", 2950), Column("payload", 17)))


def test_an_insert_holds_texts_and_nulls() -> None:
    assert decode(INSERT) == Insert(16400, ROW)


def test_a_logical_message_holds_its_prefix_and_content() -> None:
    frame = b"M\x01" + struct.pack(">Q", 77) + b"outbox\0" + struct.pack(">I", 3) + b"abc"
    assert decode(frame) == LogicalMessage(True, 77, "outbox", b"abc")


def test_a_keepalive_says_whether_it_wants_an_answer() -> None:
    assert read_keepalive(b"k" + struct.pack(">QqB", 9, 1, 1)) == Keepalive(9, True)


def test_a_message_is_found_inside_its_frame() -> None:
    assert decode(b"x" * 25 + INSERT, 25) == Insert(16400, ROW)


@pytest.mark.parametrize("kind", [b"O", b"Y", b"U", b"D", b"T"])
def test_what_an_outbox_has_no_use_for_is_skipped(kind: bytes) -> None:
    assert decode(kind + b"anything") is None


@pytest.mark.parametrize("message", [BEGIN, COMMIT, RELATION, INSERT])
def test_a_message_that_is_cut_or_has_a_rest_is_malformed(message: bytes) -> None:
    for length in range(len(message)):
        with pytest.raises(MalformedStream):
            decode(message[:length])
    with pytest.raises(MalformedStream):
        decode(message + b"\0")


def test_a_value_of_an_unknown_kind_is_malformed() -> None:
    with pytest.raises(MalformedStream, match="unknown kind"):
        decode(INSERT[:-1] + b"u")


@given(st.lists(st.none() | st.binary(max_size=40), max_size=20))
def test_every_row_comes_back(values: list[bytes | None]) -> None:
    assert decode(insert_of(values)) == Insert(7, values)


@given(st.sampled_from([b"B", b"C", b"R", b"I", b"M", b"U", b"O", b""]), st.binary(max_size=200))
def test_no_bytes_raise_anything_but_malformed_stream(kind: bytes, rest: bytes) -> None:
    try:
        decode(kind + rest)
    except MalformedStream:
        pass


@given(st.sampled_from([BEGIN, COMMIT, RELATION, INSERT]), st.data())
def test_a_changed_byte_gives_a_message_or_malformed_stream(message: bytes, data: st.DataObject) -> None:
    changed = bytearray(message)
    at = data.draw(st.integers(0, len(message) - 1))
    changed[at] = data.draw(st.integers(0, 255))
    try:
        decode(bytes(changed))
    except MalformedStream:
        pass


@given(st.binary(max_size=40))
def test_a_keepalive_of_any_bytes_is_read_or_malformed(frame: bytes) -> None:
    try:
        read_keepalive(frame)
    except MalformedStream:
        pass


def test_a_confirmation_names_the_position_three_times() -> None:
    frame = status_update(0x1_0000_0002, 946_684_801.5)
    assert struct.unpack(">cQQQqB", frame) == (b"r", 0x1_0000_0002, 0x1_0000_0002, 0x1_0000_0002, 1_500_000, 0)


def test_a_confirmation_may_ask_for_an_answer() -> None:
    assert status_update(1, 946_684_801.5, asks=True)[-1] == 1


@pytest.mark.slow
def test_a_fuzzer_led_by_coverage_finds_nothing(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    keepalive = b"k" + struct.pack(">QqB", 9, 1, 1)
    message = b"M\x01" + struct.pack(">Q", 77) + b"outbox\0" + struct.pack(">I", 3) + b"abc"
    for number, seed in enumerate((BEGIN, COMMIT, RELATION, INSERT, message)):
        (corpus / str(number)).write_bytes(b"w" + seed)
    (corpus / "keepalive").write_bytes(keepalive)
    (corpus / "row").write_bytes(b'm{"id":"i","aggregatetype":"t","aggregateid":7,"payload":{"a":[1.5,null]},"at":1}')
    (corpus / "framed").write_bytes(b'm\x00\x00\x00\x00\x1a{"aggregatetype":"t","at":1}payload')
    fuzzer = [sys.executable, str(Path(__file__).with_name("fuzz_pgoutput.py"))]
    options = ["-max_total_time=60", "-timeout=5", "-max_len=4096", "-seed=1", str(corpus)]
    ended = subprocess.run([*fuzzer, *options], cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 0, ended.stderr[-3_000:]
    assert not list(tmp_path.glob("crash-*")) + list(tmp_path.glob("timeout-*"))
