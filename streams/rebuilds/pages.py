"""What a worker tells of its rebuilds.

`GET /rebuilds`: the versions that it serves, and how far each partition of each build is.
`GET /rebuilds/{table}/diff?partition=&rows=`: one partition of both versions compared, at one batch boundary.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict

import orjson
from aiohttp import web

from faust_rdkafka import App
from streams.rebuilds.building import Rebuilds
from streams.rebuilds.comparing import compare

ROWS_DEFAULT = 20
ROWS_MAX = 1_000


def add_rebuilds(application: web.Application, app: App, rebuilds: Rebuilds, worker: str) -> None:
    """Adds the routes."""

    async def status(_: web.Request) -> web.Response:
        if not app.ready:
            return _problem(503, "the tables are being restored")
        builds = [{**row, "worker": worker} for row in rebuilds.status()]
        return _json(200, {"worker": worker, "served": rebuilds.served(), "builds": builds})

    async def diff(request: web.Request) -> web.Response:
        name = request.match_info["table"]
        numbers = {field: request.query.get(field, str(default)) for field, default in _ASKED.items()}
        if not all(text.isdecimal() for text in numbers.values()) or int(numbers["rows"]) > ROWS_MAX:
            return _problem(400, f"partition and rows are whole numbers, rows up to {ROWS_MAX}")
        if not app.ready:
            return _problem(503, "the tables are being restored")
        partition = int(numbers["partition"])
        async with app.between_batches():
            build = rebuilds.build(name)
            if build is None:
                return _problem(404, f"no version of {name} is being built")
            if partition not in build.in_step:
                return _problem(421, f"another worker owns partition {partition}")
            if not build.in_step[partition]:
                return _problem(409, f"version {build.version} of {name} is not in step yet")
            table = rebuilds.table(name)
            snapshots = table.snapshot_bytes(partition), build.table.snapshot_bytes(partition)
            at = {"version": build.version, "partition": partition, "offset": rebuilds.reached(build, partition)}
        found = await asyncio.to_thread(compare, *snapshots, int(numbers["rows"]))
        return _json(200, {"table": name, **at, "worker": worker, **asdict(found)})

    application.router.add_get("/rebuilds", status)
    application.router.add_get("/rebuilds/{table}/diff", diff)


_ASKED = {"partition": 0, "rows": ROWS_DEFAULT}


def _json(status: int, document: object) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(document), content_type="application/json")


def _problem(status: int, detail: str) -> web.Response:
    body = orjson.dumps({"status": status, "detail": detail})
    return web.Response(status=status, body=body, content_type="application/problem+json")
