"""Free TCP ports on the loopback interface."""

from __future__ import annotations

import random
import socket

HOST = "127.0.0.1"
# Below the range that Linux gives to outgoing connections (32768 on): a server that is restarted on its port must not
# find a client's connection there.
FIRST, LAST = 20_000, 32_000
TRIES_MAX = 1_000


def free_ports(count: int) -> list[int]:
    """`count` different ports that nobody listens on now and no other caller, in any process, gets within the next minute.

    A server needs seconds from its port to its listening. Raises `OSError` when none can be found.
    """
    found: list[int] = []
    for _ in range(TRIES_MAX):
        if len(found) == count:
            return found
        port = random.randint(FIRST, LAST)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            _reserve(probe)
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


def _reserve(probe: socket.socket) -> None:
    """Leave an ended connection on the port (TIME_WAIT, RFC 9293): servers, which set SO_REUSEADDR, may listen there at
    once; a socket without it, as in `free_ports`, may not, and the kernel gives the port to no client either.
    """
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # now, as the port is ours: both must have set it
    probe.listen(1)
    with socket.create_connection(probe.getsockname()):
        probe.accept()[0].close()  # whoever closes first keeps the ended connection
