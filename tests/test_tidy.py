"""House rules that can be checked: imports between folders, first lines, words, topics, golden bytes."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from pathlib import Path

import pytest

from schemas.topics import TOPICS

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "schemas": set(),
    "producers": {"schemas"},
    "connectors": {"schemas"},
    "streams": {"schemas", "faust_rdkafka"},
    "faust_rdkafka": set(),
    "tally": {"schemas", "producers", "connectors", "streams", "faust_rdkafka"},
}
# A word that house.md gives to something else, as part of a file name or of a name in the code.
FORBIDDEN_FILES = {"utils", "helpers", "common", "base", "manager", "misc"}
FORBIDDEN_NAMES = re.compile(r"(^|_)(dto|poller|workflow|channel|shard|chunk)(_|$)")


def tracked(*patterns: str) -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", *patterns], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    return [ROOT / line for line in listing.splitlines() if (ROOT / line).is_file()]


def sources() -> list[tuple[str, Path]]:
    """(package, file) of every source file of ours."""
    found = []
    for path in tracked("*.py"):
        parts = path.relative_to(ROOT).parts
        if parts[:3] == ("faust_rdkafka", "src", "faust_rdkafka"):
            found.append(("faust_rdkafka", path))
        elif parts[0] in MAY_IMPORT and parts[0] != "faust_rdkafka":
            found.append((parts[0], path))
    return found


def imported(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def test_folders_import_only_what_they_may() -> None:
    wrong = []
    for package, path in sources():
        if path.name == "__main__.py" and path.parent.name == package:
            continue  # wires real parts, may import anything
        ours = imported(ast.parse(path.read_text())) & set(MAY_IMPORT) - {package}
        if forbidden := ours - MAY_IMPORT[package]:
            wrong.append(f"{path.relative_to(ROOT)} imports {', '.join(sorted(forbidden))}")
    assert wrong == []


def test_a_folders_main_is_imported_by_nobody() -> None:
    wrong = []
    for _, path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").endswith("__main__"):
                wrong.append(str(path.relative_to(ROOT)))
    assert wrong == []


def test_nothing_is_imported_inside_a_function() -> None:
    wrong = []
    for _, path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                inner = [n for n in ast.walk(node) if isinstance(n, ast.Import | ast.ImportFrom)]
                wrong += [f"{path.relative_to(ROOT)}:{n.lineno}" for n in inner]
    assert wrong == []


def test_every_module_says_in_one_sentence_what_it_is_for() -> None:
    wrong = []
    for _, path in sources():
        text = path.read_text()
        if not (ast.get_docstring(ast.parse(text)) or "").split("\n")[0].strip():
            wrong.append(str(path.relative_to(ROOT)))
    assert wrong == []


def test_no_file_hides_its_subject() -> None:
    assert [str(p) for _, p in sources() if p.stem in FORBIDDEN_FILES] == []


def test_identifiers_use_the_words_of_the_house() -> None:
    wrong = []
    for _, path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            name = node.name if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef) else None
            if name and FORBIDDEN_NAMES.search(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()):
                wrong.append(f"{path.relative_to(ROOT)}:{name}")
    assert wrong == []


def test_tests_neither_patch_nor_mock_nor_skip() -> None:
    pattern = re.compile(r"\bmonkeypatch\b|unittest\.mock|\bpatch\(|pytest\.skip|mark\.skip|importorskip")
    wrong = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked("tests/*.py", "faust_rdkafka/tests/*.py")
        if path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]
    assert wrong == []


def test_tests_have_no_init_file() -> None:
    assert tracked("tests/*__init__.py") == []


def test_every_topic_is_documented() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    families = {name for name in TOPICS if name.endswith("-changelog") or name.startswith("connect-")}
    assert [name for name in TOPICS if f"`{name}`" not in text and name not in families] == []


def test_no_machine_path_and_no_download_address_is_committed() -> None:
    hosts = "|".join(
        ["py" + "pi", "python" + "hosted", "maven" + r"\.org", "npm" + "js", "crates" + r"\.io", "debian" + r"\.org"]
    )
    pattern = re.compile(rf"https?://[^\s\"']*({hosts})|/(wo" + r"rk|ro" + r"ot)/[a-z.]")
    wrong = []
    for path in tracked():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        wrong += [
            f"{path.relative_to(ROOT)}:{n}" for n, line in enumerate(text.splitlines(), 1) if pattern.search(line)
        ]
    assert wrong == []


def test_nothing_is_left_unfinished() -> None:
    pattern = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX)\b|NotImplemented" + "Error")
    wrong = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked("*.py", "*.md", "Makefile")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]
    assert wrong == []


def test_the_lock_of_schemas_is_plain_json_in_order() -> None:
    lock = json.loads((ROOT / "schemas" / "lock.json").read_text())
    first_ids = [versions["1"]["id"] for versions in lock.values()]
    assert first_ids == sorted(first_ids)
    for versions in lock.values():
        # A later version stands with its subject, under an id of its time.
        assert list(versions) == [str(number) for number in range(1, len(versions) + 1)]
        ids = [row["id"] for row in versions.values()]
        assert ids == sorted(ids)


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_sizes_are_reported(package: str, record_property: pytest.FixtureRequest) -> None:
    long_files = {
        str(p.relative_to(ROOT)): n
        for name, p in sources()
        if name == package and (n := len(p.read_text().splitlines())) > 300
    }
    record_property("files over 300 lines", long_files)  # type: ignore[operator]
