"""Kafka's jars: locked, compared, fetched or not."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tally.local.errors import LocalError, Tampered
from tally.local.jars import LOCK_FILE, Jar, Lock, verify

COORDINATE = re.compile(r"[a-z0-9_.]+(-[a-z0-9_.]+)*:[A-Za-z0-9_.-]+:[0-9][A-Za-z0-9.-]*")


def lock_of(content: bytes) -> Lock:
    return Lock("a.b:c:1.0", (Jar("a.b:c:1.0", hashlib.sha256(content).hexdigest(), len(content)),))


def test_the_lock_names_coordinates_and_sums_and_no_hosts() -> None:
    lock = Lock.read()
    assert lock.version.startswith("4.3.")
    assert "://" not in LOCK_FILE.read_text()
    for jar in lock.jars:
        assert COORDINATE.fullmatch(jar.coordinate), jar
        assert re.fullmatch(r"[0-9a-f]{64}", jar.sha256)
    assert len({jar.file_name for jar in lock.jars}) == len(lock.jars)


def test_a_lock_is_read_as_it_was_written(tmp_path: Path) -> None:
    Lock.read().write(tmp_path / "lock.json")
    assert (tmp_path / "lock.json").read_text() == LOCK_FILE.read_text()


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c-1.0.jar").write_bytes(b"as locked")
    verify(lock_of(b"as locked"), tmp_path)
    with pytest.raises(Tampered, match=r"c-1\.0\.jar"):
        verify(lock_of(b"another"), tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=r"c-1\.0\.jar is gone"):
        verify(lock_of(b"x"), tmp_path)


def test_without_a_route_to_the_packages_one_line_says_what_is_missing(tmp_path: Path) -> None:
    nobody_answers = tmp_path / "jgo.conf"
    nobody_answers.write_text("[repositories]\ncentral = http://127.0.0.1:9/\n")
    environment = os.environ | {
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "JGO_CONFIG_FILE": str(nobody_answers),
        "M2_REPO": str(tmp_path / "m2"),
    }
    run = subprocess.run(
        [sys.executable, "-m", "tally.cli", "setup"], env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 4
    lines = run.stderr.strip().splitlines()
    assert re.fullmatch(r"Kafka 4\.3\.\d+ \(\d+ files, \d+ MB\) is missing and cannot be fetched: .*reach.*", lines[-1])
    assert "Traceback" not in run.stderr
    assert list((tmp_path / "cache" / "tally").iterdir()) == []
