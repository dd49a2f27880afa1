"""`tally schemas`: the gate finds what old readers or old data could not live with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas import catalogue

FILE = "avro/orders/OrderRejected.1.avsc"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the published schemas."""
    copy = tmp_path / "schemas"
    shutil.copytree(catalogue.FOLDER / "avro", copy / "avro")
    shutil.copy(catalogue.LOCK, copy / "lock.json")
    return copy


def second_version(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Publishes a changed schema as version 2."""
    schema = json.loads((folder / FILE).read_text())
    change(schema)
    newer = FILE.replace(".1.", ".2.")
    (folder / newer).write_text(json.dumps(schema))
    lock = json.loads((folder / "lock.json").read_text())
    row = {"id": 1_999_999, "file": newer, "sha256": catalogue.normalised_sha256(schema)}
    lock["tally.orders.OrderRejected"]["2"] = row
    (folder / "lock.json").write_text(json.dumps(lock))


def add(schema: dict[str, Any], **field: Any) -> None:
    schema["fields"].append({"doc": "New.", **field})


def test_the_published_schemas_pass(run: Any) -> None:
    assert run("schemas", "check").exit_code == 0


def test_a_field_with_a_default_passes(run: Any, folder: Path) -> None:
    second_version(folder, lambda schema: add(schema, name="note", type=["null", "string"], default=None))
    result = run("schemas", "check", "--folder", str(folder))
    assert (result.exit_code, result.stdout) == (0, "")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda schema: add(schema, name="note", type="string"), "cannot read version 1"),
        (lambda schema: schema["fields"].clear(), "cannot read version 2"),
        (lambda schema: schema["fields"][0].update(type="long"), "cannot read version 1"),
        (lambda schema: add(schema, name="note", type=["null", "string"]), "default must be null"),
        (lambda schema: add(schema, name="price", type="double", default=0.0), "cannot hold money"),
        (
            lambda schema: add(schema, name="at", type={"type": "long", "logicalType": "timestamp-micros"}, default=0),
            "logical type timestamp-micros",
        ),
        (lambda schema: schema.update(namespace="tally.other"), "named tally.other.OrderRejected"),
        (lambda schema: schema.pop("doc"), "has no doc"),
    ],
)
def test_a_change_that_breaks_somebody_is_found(
    run: Any, folder: Path, change: Callable[[dict[str, Any]], None], says: str
) -> None:
    second_version(folder, change)
    result = run("schemas", "check", "--folder", str(folder))
    assert result.exit_code == 5
    assert says in result.stdout


def test_a_published_file_that_changed_or_went_is_found(run: Any, folder: Path) -> None:
    changed = json.loads((folder / FILE).read_text()) | {"doc": "Other words."}
    (folder / FILE).write_text(json.dumps(changed))
    (folder / "avro/orders/OrderShipped.1.avsc").unlink()
    result = run("schemas", "check", "--folder", str(folder), "-f", "json")
    assert result.exit_code == 5
    said = [finding["message"] for finding in json.loads(result.stdout)["findings"]]
    assert any("changed since" in line for line in said)
    assert any("and gone" in line for line in said)
    assert any("OrderShipped: a message without a schema" in line for line in said)


def test_a_file_that_was_never_published_is_found(run: Any, folder: Path) -> None:
    shutil.copy(folder / FILE, folder / FILE.replace(".1.", ".7."))
    assert "not in lock.json" in run("schemas", "check", "--folder", str(folder)).stdout


def test_a_schema_is_shown_by_type_or_subject(run: Any) -> None:
    by_type = json.loads(run("schemas", "show", "ORDER_REJECTED").stdout)
    assert by_type == json.loads(run("schemas", "show", "tally.orders.OrderRejected").stdout)
    assert run("schemas", "show", "NOTHING").exit_code == 3
    rows = [json.loads(line) for line in run("schemas", "list").stdout.splitlines()]
    assert {"type": "ORDER_REJECTED", "version": 1}.items() <= next(r for r in rows if r["file"] == FILE).items()
