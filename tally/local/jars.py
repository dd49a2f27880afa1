"""Kafka's jars: the committed lock of their coordinates and SHA-256 sums, and the verified copy in the cache."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from tally.local.cache import cache_dir
from tally.local.child import Command, run_to_end
from tally.local.errors import LocalError, PackagesOutOfReach, Tampered

LOCK_FILE = Path(__file__).with_name("kafka.lock.json")
HASHING_THREADS = 2
READ_BYTES = 1 << 20
FETCHED_WITHIN_S = 900
# In the folder that is fetched into: why that failed.
REASON_FILE = "reason"


@dataclass(frozen=True, slots=True)
class Jar:
    """One locked file: `coordinate` is Maven's `group:artifact:version`, `sha256` in hex, `bytes` its length."""

    coordinate: str
    sha256: str
    bytes: int

    @property
    def file_name(self) -> str:
        """Name of the file, as Maven has it."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


@dataclass(frozen=True, slots=True)
class Lock:
    """All jars of one version of Kafka; `artifact` is the coordinate that they were resolved from."""

    artifact: str
    jars: tuple[Jar, ...]

    @classmethod
    def read(cls, path: Path = LOCK_FILE) -> Lock:
        """The lock in `path`."""
        document = json.loads(path.read_text())
        return cls(document["artifact"], tuple(Jar(**jar) for jar in document["jars"]))

    def write(self, path: Path) -> None:
        """Write the lock to `path`, one line a jar so that a change reads well."""
        lines = ",\n".join("    " + json.dumps(asdict(jar)) for jar in self.jars)
        path.write_text(f'{{\n  "artifact": {json.dumps(self.artifact)},\n  "jars": [\n{lines}\n  ]\n}}\n')

    @property
    def version(self) -> str:
        """Kafka's version."""
        return self.artifact.rsplit(":", 1)[1]

    @property
    def bytes(self) -> int:
        """Length of all files together."""
        return sum(jar.bytes for jar in self.jars)

    @property
    def digest(self) -> str:
        """Names this exact set of files."""
        return hashlib.sha256("".join(jar.sha256 for jar in self.jars).encode()).hexdigest()[:12]

    def home(self) -> Path:
        """The folder in the cache that holds exactly these files."""
        return cache_dir() / f"kafka-{self.version}-{self.digest}"


def installed(lock: Lock) -> list[Path]:
    """The class path, fetched first where it is not in the cache; its order is the lock's.

    Every file's sum is compared at each start: hashing all takes about as long as one query, and what runs is then
    always what was locked. Raises `PackagesOutOfReach` and `Tampered`.
    """
    home = lock.home()
    if not home.is_dir():
        fetch(lock)
    verify(lock, home)
    return [home / jar.file_name for jar in lock.jars]


def fetch(lock: Lock) -> Path:
    """Bring the locked files into the cache and return their folder; there in whole or not at all.

    A process of its own does it: jgo and what it imports are needed once in the life of a cache, never at a start.
    """
    home = lock.home()
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent, prefix="fetching-") as scratch:
        fetching = [sys.executable, "-m", "tally.local.fetch", scratch]
        exit_code = run_to_end(Command("fetch", fetching, None, dict(os.environ)), FETCHED_WITHIN_S)
        if exit_code != 0:
            what = f"Kafka {lock.version} ({len(lock.jars)} files, {lock.bytes // 1_000_000} MB) is"
            reason = Path(scratch) / REASON_FILE
            raise PackagesOutOfReach(what, reason.read_text() if reason.exists() else f"exit code {exit_code}")
        jars = Path(scratch) / "jars"
        verify(lock, jars)
        try:
            os.rename(jars, home)
        except OSError:
            if not home.is_dir():  # else another process was faster; the files are the same
                raise
    return home


def verify(lock: Lock, folder: Path) -> None:
    """Compare every file with the lock. Raises `Tampered` for one that differs, `LocalError` for one that is gone."""
    with ThreadPoolExecutor(HASHING_THREADS) as pool:
        sums = list(pool.map(lambda jar: _sha256(folder / jar.file_name), lock.jars))
    for jar, found in zip(lock.jars, sums, strict=True):
        if found != jar.sha256:
            raise Tampered(str(folder / jar.file_name), jar.sha256, found)


def forget(lock: Lock) -> None:
    """Remove the copy in the cache."""
    shutil.rmtree(lock.home(), ignore_errors=True)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(READ_BYTES):
                digest.update(block)
    except FileNotFoundError:
        raise LocalError(f"{path} is gone; remove its folder and start again to fetch it anew") from None
    return digest.hexdigest()
