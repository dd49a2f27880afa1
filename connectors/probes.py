"""Probes and metrics of a process over HTTP: /livez, /readyz, /startupz and /metrics, up from its first second."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol

import orjson
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

# A loop that gave no sign for so long hangs: longer than every bounded wait in it together.
SILENT_MAX_S = 120.0


class Questions(Protocol):
    """What the probes ask: each answer is None for yes, else the reason in one line."""

    def why_not_live(self) -> str | None:
        """Should this process be killed?"""

    def why_not_ready(self) -> str | None:
        """Does it do its work now?"""

    def why_not_started(self) -> str | None:
        """Has it ever been ready?"""


class Health:
    """What a process knows of itself; its loop writes, the probes read, each in a thread of its own."""

    def __init__(self, silent_max_s: float = SILENT_MAX_S) -> None:
        self._silent_max_s = silent_max_s
        self._heard_s = time.monotonic()
        self._started = False
        self._waits_for: str | None = "its start"

    def beat(self) -> None:
        """The loop goes round."""
        self._heard_s = time.monotonic()

    def ready(self) -> None:
        """The process does its work; from now on it counts as started."""
        self._started, self._waits_for = True, None
        self.beat()

    def waits_for(self, what: str) -> None:
        """The process lives and cannot work: `what` is one line for people."""
        self._waits_for = what
        self.beat()

    def why_not_live(self) -> str | None:
        """None while the loop goes round."""
        silent_s = time.monotonic() - self._heard_s
        return f"no sign for {silent_s:.0f} s" if silent_s > self._silent_max_s else None

    def why_not_ready(self) -> str | None:
        """None while the process does its work."""
        return self.why_not_live() or (f"waits for {self._waits_for}" if self._waits_for else None)

    def why_not_started(self) -> str | None:
        """None once the process has been ready."""
        return None if self._started else self.why_not_ready()


class Probes:
    """The HTTP server of the probes, in threads; `port` None takes a free one. Raises OSError where the port is taken."""

    def __init__(
        self, health: Questions, registry: CollectorRegistry, port: int | None, host: str = "127.0.0.1"
    ) -> None:
        self._server = ThreadingHTTPServer((host, port or 0), _handler(health, registry))
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="probes", daemon=True)

    def __enter__(self) -> Probes:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(health: Questions, registry: CollectorRegistry) -> type[BaseHTTPRequestHandler]:
    questions: dict[str, Callable[[], str | None]] = {
        "/livez": health.why_not_live,
        "/readyz": health.why_not_ready,
        "/startupz": health.why_not_started,
    }

    class Answering(BaseHTTPRequestHandler):
        """Answers one request."""

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._answer(200, CONTENT_TYPE_LATEST, generate_latest(registry))
            elif path in questions:
                reason = questions[path]()
                body = orjson.dumps({"ok": reason is None, "reason": reason, "pid": os.getpid()})
                self._answer(503 if reason else 200, "application/json", body)
            else:
                self._answer(404, "application/json", orjson.dumps({"ok": False, "reason": f"nothing at {path}"}))

        def _answer(self, status: int, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """One line for every probe is nothing for a log."""

    return Answering
