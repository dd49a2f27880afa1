"""Two questions to a broker that is just starting, in Kafka's protocol and without a client.

A client keeps threads and connections of its own and tries again by its own clock; here the broker is asked once, and
the answer is yes or no. (librdkafka's admin client was also seen to crash when closed while a coordinator was being
made, 2.16.1; the supervisor must not.) Source: Kafka's protocol guide, Metadata version 1, FindCoordinator version 1.
"""

from __future__ import annotations

import socket
import struct

METADATA, FIND_COORDINATOR = 3, 10
VERSION = 1
GROUP, TRANSACTION = 0, 1
ANSWER_WITHIN_S = 1.0
COORDINATOR_WITHIN_S = 10.0
ANSWER_BYTES_MAX = 1 << 20


def brokers(host: str, port: int) -> int:
    """How many brokers the cluster has, by this one's word; 0 when it does not answer."""
    no_topics = struct.pack(">i", 0)
    answer = _ask(host, port, METADATA, no_topics, ANSWER_WITHIN_S)
    return int(struct.unpack_from(">i", answer, 4)[0]) if len(answer) >= 8 else 0


def make_internal_topics(host: str, port: int) -> None:
    """Ask for a coordinator of each kind: the broker then makes its topics of group offsets and of transactions.

    The first client of all would wait 3 s for these.
    """
    key = b"nobody"
    for kind in (GROUP, TRANSACTION):
        _ask(host, port, FIND_COORDINATOR, struct.pack(f">h{len(key)}sb", len(key), key, kind), COORDINATOR_WITHIN_S)


def _ask(host: str, port: int, api: int, body: bytes, within_s: float) -> bytes:
    """The answer, correlation id first; empty when there is none."""
    request = struct.pack(">hhih", api, VERSION, 0, -1) + body  # no client id
    try:
        with socket.create_connection((host, port), timeout=within_s) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            with connection.makefile("rb") as stream:
                length = stream.read(4)
                if len(length) < 4:
                    return b""
                return stream.read(min(struct.unpack(">i", length)[0], ANSWER_BYTES_MAX))
    except OSError:
        return b""
