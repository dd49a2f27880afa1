"""A small schema registry over HTTP: the subset of Confluent's REST interface that `schemas.registry` speaks."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

Answer = tuple[int, Any]
NOT_FOUND: Answer = (404, {"error_code": 40403, "message": "Schema not found"})


@dataclass
class FakeRegistry:
    """What it holds: schema text by id, {version: id} by subject; `asked` are (method, path). `status` breaks it."""

    url: str = ""
    schemas: dict[int, str] = field(default_factory=dict)
    subjects: dict[str, dict[int, int]] = field(default_factory=dict)
    modes: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    imports: bool = True
    status: int | None = None

    def put(self, subject: str, version: int, id_: int, schema: dict[str, Any]) -> None:
        """Holds a version."""
        self.schemas[id_] = json.dumps(schema)
        self.subjects.setdefault(subject, {})[version] = id_

    def answer(self, method: str, path: str, body: Any) -> Answer:
        """What the registry says."""
        self.asked.append((method, path))
        if self.status is not None:
            return self.status, {"error_code": self.status, "message": "out of order"}
        if method == "GET" and path == "/subjects":
            return 200, sorted(self.subjects)
        if (found := re.fullmatch(r"/schemas/ids/(\d+)", path)) and method == "GET":
            text = self.schemas.get(int(found[1]))
            return NOT_FOUND if text is None else (200, {"schema": text})
        if (found := re.fullmatch(r"/mode/(.+)", path)) and method == "PUT":
            if not self.imports:
                return 405, {"error_code": 405, "message": "Method Not Allowed"}
            self.modes[unquote(found[1])] = body["mode"]
            return 200, body
        if found := re.fullmatch(r"/subjects/(.+)/versions/(\d+)", path):
            return self._version(unquote(found[1]), int(found[2]))
        if (found := re.fullmatch(r"/subjects/(.+)/versions", path)) and method == "POST":
            return self._register(unquote(found[1]), body)
        return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}

    def _version(self, subject: str, version: int) -> Answer:
        id_ = self.subjects.get(subject, {}).get(version)
        if id_ is None:
            return 404, {"error_code": 40401, "message": f"Subject '{subject}' not found."}
        return 200, {"subject": subject, "version": version, "id": id_, "schema": self.schemas[id_]}

    def _register(self, subject: str, body: Any) -> Answer:
        if self.modes.get(subject) != "IMPORT":
            return 422, {"error_code": 42205, "message": f"Subject {subject} is not in import mode"}
        self.put(subject, body["version"], body["id"], json.loads(body["schema"]))
        return 200, {"id": body["id"]}


@contextmanager
def serving() -> Iterator[FakeRegistry]:
    """A registry behind a real port of this machine."""
    registry = FakeRegistry()

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            sent = self.rfile.read(int(self.headers.get("content-length", 0)))
            path = urlsplit(self.path).path
            status, body = registry.answer(self.command, path, json.loads(sent) if sent else None)
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = _do

        def log_message(self, format: str, *_: Any) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        registry.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield registry
        finally:
            server.shutdown()
            thread.join()
