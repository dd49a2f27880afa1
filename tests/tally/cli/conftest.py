"""For tests of verbs: the command line in this process, and a stand-in for the API."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tally.cli.__main__ import app

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """`run("topics", "list", kafka=…)`: the verb's exit code, stdout and stderr; no system runs here."""

    def invoke(*arguments: str, kafka: str | None = None, stdin: str | None = None) -> Result:
        environment = {"TALLY_KAFKA_BOOTSTRAP": kafka, "TALLY_DATA_DIR": str(tmp_path), "TALLY_REDIS_URL": None}
        return CliRunner().invoke(app, list(arguments), env=environment, input=stdin)

    return invoke


@dataclass
class FakeApi:
    """Answers by (method, path without query): (status, JSON, headers); keeps what it was asked."""

    url: str = ""
    answers: dict[tuple[str, str], list[tuple[int, Any, dict[str, str]]]] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)

    def answer(self, method: str, path: str, status: int, body: Any, **headers: str) -> None:
        """The next answer to such a call; the last one stays."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers.setdefault((method, path), []).append((status, body, named))


@pytest.fixture
def api() -> Iterator[FakeApi]:
    """A real HTTP server with canned answers."""
    fake = FakeApi()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer("GET")

        def do_POST(self) -> None:
            self._answer("POST")

        def _answer(self, method: str) -> None:
            sent = self.rfile.read(int(self.headers.get("content-length", 0)))
            fake.asked.append(
                (
                    method,
                    self.path,
                    {name.lower(): value for name, value in self.headers.items()},
                    json.loads(sent) if sent else None,
                )
            )
            waiting = fake.answers.get((method, self.path.partition("?")[0]), [(404, {"detail": "no such thing"}, {})])
            status, body, headers = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            content = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *_: Any) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        fake.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield fake
        server.shutdown()
        thread.join()
