"""A small TCP proxy between a client and a server, whose connections a test cuts or silences."""

from __future__ import annotations

import selectors
import socket
import struct
import threading
from dataclasses import dataclass, field
from typing import Any

_TAKE_BYTES = 65_536
_LOOK_AGAIN_S = 0.05
_CONNECT_WITHIN_S = 5.0
# Closing with this set sends a reset, as a firewall does, and not an orderly end.
_RESET = struct.pack("ii", 1, 0)


@dataclass
class CuttableLink:
    """Listens on `port` of 127.0.0.1 and passes everything to `target` (host, port)."""

    target: tuple[str, int]
    cuts: int = 0
    _pairs: list[tuple[socket.socket, socket.socket]] = field(default_factory=list)
    _silent: set[socket.socket] = field(default_factory=set)
    _passing: list[threading.Thread] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self) -> CuttableLink:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.cut()
        self._thread.join()
        self._listener.close()
        for thread in self._passing:
            thread.join()

    def cut(self) -> None:
        """Resets every connection that is there, in the middle of whatever passes."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
            for pair in pairs:
                self.cuts += 1
                for end in pair:
                    if end.fileno() >= 0:
                        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                        _shut(end)

    def silence(self) -> None:
        """Connections that are there pass nothing more and stay open, as when a firewall has forgotten them."""
        with self._lock:
            self._silent.update(client for client, _ in self._pairs)

    def _accept(self) -> None:
        with selectors.DefaultSelector() as ready:
            ready.register(self._listener, selectors.EVENT_READ)
            while not self._ended.is_set():
                if not ready.select(_LOOK_AGAIN_S):
                    continue
                client, _ = self._listener.accept()
                pair = (client, socket.create_connection(self.target, _CONNECT_WITHIN_S))
                with self._lock:
                    self._pairs.append(pair)
                self._passing.append(threading.Thread(target=self._pass, args=pair, daemon=True))
                self._passing[-1].start()

    def _pass(self, client: socket.socket, server: socket.socket) -> None:
        sink_by_source = {client: server, server: client}
        with selectors.DefaultSelector() as ready:
            for end in sink_by_source:
                ready.register(end, selectors.EVENT_READ)
            try:
                while (found := ready.select()) and client not in self._silent:
                    if not all(self._pass_some(key.fileobj, sink_by_source) for key, _ in found):
                        break
                else:
                    self._ended.wait()
            except OSError:
                pass  # cut, or the other end is gone
        with self._lock:
            client.close()
            server.close()

    @staticmethod
    def _pass_some(source: Any, sink_by_source: dict[socket.socket, socket.socket]) -> bool:
        content = source.recv(_TAKE_BYTES)
        sink_by_source[source].sendall(content)
        return bool(content)


def _shut(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it has ended by itself
