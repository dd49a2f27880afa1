"""The schema registry that the API serves: what foreign clients ask, and what they get where nothing is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas.catalogue import load

ENTRIES = load()
TWICE = "tally.dead_letters.DeadLettered"


def asked(api: Any, path: str) -> Any:
    answer = api.client.get(f"/schema-registry{path}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/vnd.schemaregistry.v1+json"
    return answer.json()


def test_every_published_schema_is_told_under_its_id(api: Any) -> None:
    assert asked(api, "/subjects") == sorted({entry.subject for entry in ENTRIES})
    assert asked(api, "/schemas/types") == ["AVRO"]
    for entry in ENTRIES:
        assert json.loads(asked(api, f"/schemas/ids/{entry.id}")["schema"]) == entry.schema
        place = {"subject": entry.subject, "version": entry.version}
        assert asked(api, f"/schemas/ids/{entry.id}/versions") == [place]
        found = asked(api, f"/subjects/{entry.subject}/versions/{entry.version}")
        assert json.loads(found.pop("schema")) == entry.schema
        assert found == {**place, "id": entry.id}


def test_the_latest_version_is_the_newest_of_its_subject(api: Any) -> None:
    assert asked(api, f"/subjects/{TWICE}/versions") == [1, 2]
    assert asked(api, f"/subjects/{TWICE}/versions/latest")["version"] == 2


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/schemas/ids/7", 40403),
        ("/schemas/ids/7/versions", 40403),
        ("/subjects/shop.Cart/versions", 40401),
        ("/subjects/shop.Cart/versions/1", 40401),
        (f"/subjects/{TWICE}/versions/3", 40402),
        (f"/subjects/{TWICE}/versions/first", 40402),
    ],
)
def test_what_is_not_there_has_the_code_that_clients_know(api: Any, path: str, code: int) -> None:
    answer = api.client.get(f"/schema-registry{path}")
    assert (answer.status_code, answer.json()["error_code"]) == (404, code)
