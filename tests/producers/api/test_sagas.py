"""Sagas by HTTP: the list over all workers, one saga, and acts with who and why."""

from __future__ import annotations

from typing import Any

from schemas.messages import ActOnSaga


def saga(order_id: str, started_at: str) -> dict[str, Any]:
    return {"order_id": order_id, "state": "RUNNING", "started_at": started_at}


def test_the_list_holds_the_newest_of_all_workers_and_asks_each_for_what_is_wanted(api: Any) -> None:
    api.owners.by_partition = {0: "w0:1", 1: "w1:1", 2: "w0:1", 3: "w1:1"}
    api.workers.put("w0:1", "sagas", "o1", saga("o1", "2026-01-01"))
    api.workers.put("w1:1", "sagas", "o2", saga("o2", "2026-01-02"))
    answer = api.client.get("/sagas", params={"step": "capture", "older_s": 60, "error": "EXPIRED", "limit": 1})
    assert (answer.status_code, [item["order_id"] for item in answer.json()["items"]]) == (200, ["o2"])
    wanted = {"step": "capture", "older_s": "60", "error": "EXPIRED", "limit": "1"}
    assert api.workers.sagas_asked == [wanted, wanted]
    api.workers.away.add("w1:1")
    assert api.client.get("/sagas").status_code == 503


def test_one_saga_is_shown_by_its_owner(api: Any) -> None:
    api.workers.put("w0:1", "sagas", "o1", saga("o1", "2026-01-01"))
    assert api.client.get("/sagas/o1").json() == saga("o1", "2026-01-01")
    assert api.client.get("/sagas/o2").status_code == 404


def test_a_timeline_is_read_for_the_saga_as_its_owner_shows_it(api: Any) -> None:
    api.workers.put("w0:1", "sagas", "o1", saga("o1", "2026-01-01"))
    api.timelines.rows = [{"type": "SAGA_STARTED", "offset": 3}]
    found = api.client.get("/sagas/o1/timeline")
    assert (found.status_code, found.json()) == (200, [{"type": "SAGA_STARTED", "offset": 3, "order_id": "o1"}])
    assert api.client.get("/sagas/o2/timeline").status_code == 404
    api.timelines.rows = None
    unanswered = api.client.get("/sagas/o1/timeline")
    assert (unanswered.status_code, unanswered.json()["type"]) == (503, "kafka-out-of-reach")
    assert unanswered.headers["Retry-After"]


def test_an_act_goes_to_the_sagas_key_with_who_and_why(api: Any) -> None:
    api.workers.put("w0:1", "sagas", "o1", saga("o1", "2026-01-01"))
    body = {"act": "SKIP", "by": "ann", "reason": "paid in cash", "step": "capture"}
    answer = api.client.post("/sagas/o1/acts", json=body, headers=api.fresh_key())
    assert (answer.status_code, answer.json()["act"]) == (202, "SKIP")
    [(topic, command)] = api.commands.sent
    assert (topic, command.envelope.subject) == ("sagas.deadlines", "o1")
    assert command.body == ActOnSaga("SKIP", "ann", "paid in cash", "capture")
    assert answer.json()["command_id"] == command.envelope.id


def test_an_act_needs_a_known_name_a_person_and_a_reason(api: Any) -> None:
    api.workers.put("w0:1", "sagas", "o1", saga("o1", "2026-01-01"))
    good = {"act": "RETRY", "by": "ann", "reason": "now"}
    for wrong in ({"act": "FORGET"}, {"by": ""}, {"reason": ""}, {"more": 1}):
        assert api.client.post("/sagas/o1/acts", json=good | wrong, headers=api.fresh_key()).status_code == 422
    assert api.client.post("/sagas/o1/acts", json=good).status_code == 400
    assert api.client.post("/sagas/o2/acts", json=good, headers=api.fresh_key()).status_code == 404
    assert api.commands.sent == []
