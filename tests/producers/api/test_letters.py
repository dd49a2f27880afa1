"""Dead letters by HTTP."""

from __future__ import annotations

from typing import Any


def row(offset: int, state: str, lane: str = "a") -> dict[str, Any]:
    return {"lane": lane, "state": state, "key": f"key {lane}", "offset": offset, "recorded_at": "2026"}


def test_letters_stand_in_the_order_of_their_lanes_and_can_be_asked_for(api: Any) -> None:
    api.letters.rows = [row(9, "WAITING"), row(7, "FAILED"), row(8, "WAITING"), row(1, "FAILED", "b")]
    offsets = [item["offset"] for item in api.client.get("/dead-letters").json()["items"]]
    assert offsets == [7, 8, 9, 1]
    wanted = api.client.get("/dead-letters", params={"state": "FAILED", "key": "key b"}).json()["items"]
    assert [item["offset"] for item in wanted] == [1]
    api.letters.rows = None
    assert api.client.get("/dead-letters").status_code == 503
