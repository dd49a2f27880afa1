"""Fetches Kafka's jars from the package repository by jgo, and writes the lock anew (`--lock VERSION`).

`python -m tally.local.fetch FOLDER` puts the locked files into FOLDER/jars. Progress goes to stderr; why it failed is
one line in FOLDER/reason. Repositories and mirrors are those of jgo's own settings file.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import requests
from jgo.config import GlobalSettings
from jgo.maven import MavenContext

from tally.local.jars import LOCK_FILE, REASON_FILE, Jar, Lock

KAFKA = "org.apache.kafka:kafka_2.13"
# Kafka logs through slf4j 1.7; its distribution adds this binding, its artifact does not name it.
LOGGING = "org.apache.logging.log4j:log4j-slf4j-impl"
LOGGING_CORE = "org.apache.logging.log4j:log4j-core"
DOWNLOADS_AT_ONCE = 8
TIMEOUT_S = 30
ATTEMPTS = 3
MB = 1_000_000


def main(arguments: list[str]) -> int:
    """Run as a script; see the module's docstring."""
    if arguments[0] == "--lock":
        write_lock(arguments[1])
        return 0
    folder = Path(arguments[0])
    try:
        fetch(Lock.read(), folder)
    except requests.RequestException as error:
        reason = f"the Maven repository is out of reach ({type(error).__name__})"
    except RuntimeError as error:
        # jgo's word for "no repository has this file"; its text goes on with addresses, the first part says which
        reason = str(error).split(" in remote repositories")[0]
    else:
        return 0
    (folder / REASON_FILE).write_text(reason)
    return 4


def fetch(lock: Lock, folder: Path) -> None:
    """Download the files of `lock` into `folder`/jars. Raises requests' errors and jgo's `RuntimeError`."""
    context = _context(folder / "repository")
    jars = folder / "jars"
    jars.mkdir(parents=True)
    print(f"Kafka {lock.version}: fetching {len(lock.jars)} files, {lock.bytes / MB:.0f} MB", file=sys.stderr)
    done = 0
    with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
        running = {pool.submit(_download, context, jar.coordinate): jar for jar in lock.jars}
        try:
            for finished in as_completed(running):
                jar = running[finished]
                shutil.move(finished.result(), jars / jar.file_name)
                done += jar.bytes
                if sys.stderr.isatty():
                    print(f"\r  {done / MB:5.1f} of {lock.bytes / MB:.1f} MB", end="", file=sys.stderr, flush=True)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        finally:
            if sys.stderr.isatty():
                print(file=sys.stderr)


def write_lock(version: str) -> None:
    """Resolve Kafka `version` with all that it needs and write the lock; the result is to be read and committed."""
    with tempfile.TemporaryDirectory() as scratch:
        context = _context(Path(scratch))
        inputs, others = context.resolver.resolve([context.create_dependency(f"{KAFKA}:{version}")])
        found = {f"{dependency.groupId}:{dependency.artifactId}": dependency.version for dependency in inputs + others}
        found[LOGGING] = found[LOGGING_CORE]
        jars = []
        for name, jar_version in sorted(found.items()):
            content = _download(context, f"{name}:{jar_version}").read_bytes()
            jars.append(Jar(f"{name}:{jar_version}", hashlib.sha256(content).hexdigest(), len(content)))
    Lock(f"{KAFKA}:{version}", tuple(jars)).write(LOCK_FILE)


def _context(repository: Path) -> Any:
    settings = GlobalSettings.load()
    # A Maven repository of the user's that has the file already saves the download; the sums are checked all the same.
    local = [settings.repo_cache] if settings.repo_cache.is_dir() else []
    return MavenContext(
        repo_cache=repository, local_repos=local, remote_repos=settings.repositories or None, timeout=TIMEOUT_S
    )


def _download(context: Any, coordinate: str) -> Path:
    """A private copy of one file, so that it can be moved away; a repeated try after a broken connection."""
    artifact = context.create_dependency(coordinate).artifact
    for attempt in range(1, ATTEMPTS + 1):
        try:
            path = Path(artifact.resolve())
        except requests.RequestException:
            Path(artifact.cached_path).unlink(missing_ok=True)
            if attempt == ATTEMPTS:
                raise
            time.sleep(0.2 * attempt)
        else:
            if path == Path(artifact.cached_path):
                return path
            copied = Path(artifact.cached_path)
            copied.parent.mkdir(parents=True, exist_ok=True)
            return Path(shutil.copyfile(path, copied))
    raise AssertionError("unreachable: the last attempt returns or raises")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
