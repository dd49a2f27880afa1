"""Golden bytes: what was ever published reads the same for ever, and is written the same until a new version comes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from golden_samples import sample

from schemas.catalogue import load
from schemas.codec import AvroCodec
from schemas.messages import MESSAGES

HERE = Path(__file__).parent
BYTES: dict[str, str] = json.loads((HERE / "golden.json").read_text())
CODEC = AvroCodec()
CLASSES = {cls.__name__: cls for cls in MESSAGES.values()}
NEWEST = {entry.subject: entry for entry in load()}
SCHEMAS = {f"{entry.subject}.{entry.version}": entry.schema for entry in load()}


def test_every_published_version_has_golden_bytes() -> None:
    assert sorted(BYTES) == sorted(f"{entry.subject}.{entry.version}" for entry in load())


@pytest.mark.parametrize("name", sorted(BYTES))
def test_golden_bytes_read_as_the_sample(name: str) -> None:
    body = CODEC.decode(bytes.fromhex(BYTES[name]))
    assert body == sample(CLASSES[name.split(".")[2]], SCHEMAS[name])


@pytest.mark.parametrize("entry", NEWEST.values(), ids=lambda entry: entry.subject)
def test_the_newest_version_is_written_as_its_golden_bytes(entry: object) -> None:
    body = sample(CLASSES[entry.class_name])  # type: ignore[attr-defined]
    assert CODEC.encode(body).hex() == BYTES[f"{entry.subject}.{entry.version}"]  # type: ignore[attr-defined]
