"""Free TCP ports on the loopback interface."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack

HOST = "127.0.0.1"
# Below the range that Linux gives to outgoing connections (32768 on): a server that is restarted on its port must not
# find a client's connection there.
FIRST, LAST = 20_000, 32_000
TRIES_MAX = 1_000


def free_ports(count: int) -> list[int]:
    """`count` different ports that nobody listens on now. Raises `OSError` when none can be found."""
    found: list[int] = []
    with ExitStack() as held:
        for _ in range(TRIES_MAX):
            if len(found) == count:
                return found
            port = random.randint(FIRST, LAST)
            probe = held.enter_context(socket.socket())
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            found.append(port)
    raise OSError(f"no {count} free ports between {FIRST} and {LAST}")


def is_free(port: int) -> bool:
    """Whether somebody could listen on `port` of the loopback interface now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
