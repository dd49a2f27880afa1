"""Coverage-guided fuzzing of the decoder: `python fuzz_pgoutput.py -max_total_time=SECONDS [CORPUS]` (libFuzzer's options).

Ends with 0 when no input made the decoder do anything but return or raise MalformedStream or Unroutable; an input that did is written
to the working directory as `crash-…`, one that took longer than `-timeout` as `timeout-…`.
"""

import sys

import atheris

with atheris.instrument_imports(include=["connectors.outbox.pgoutput", "connectors.outbox.messages"]):
    from connectors.outbox import Routing, pgoutput
    from connectors.outbox.errors import MalformedStream
    from connectors.outbox.messages import MessageRows
    from connectors.outbox.routing import Unroutable

MESSAGES = MessageRows(Routing(timestamp_field="at"), "outbox")


def decode_anything(frame: bytes) -> None:
    """A frame as it could come: the first byte chooses between a keepalive, a message's content and a log frame."""
    try:
        if frame[:1] == b"k":
            pgoutput.read_keepalive(frame)
        elif frame[:1] == b"m":
            route, values, fault = MESSAGES.row(frame[1:], (1, 0))
            if fault is None:
                route.record(values)
        else:
            pgoutput.decode(frame, min(len(frame), 1))
    except (MalformedStream, Unroutable):
        pass


if __name__ == "__main__":
    atheris.Setup(sys.argv, decode_anything)
    atheris.Fuzz()
