"""Coverage-guided fuzzing of the decoder: `python fuzz_pgoutput.py -max_total_time=SECONDS [CORPUS]` (libFuzzer's options).

Ends with 0 when no input made the decoder do anything but return or raise MalformedStream; an input that did is written
to the working directory as `crash-…`, one that took longer than `-timeout` as `timeout-…`.
"""

import sys

import atheris

with atheris.instrument_imports(include=["connectors.outbox.pgoutput"]):
    from connectors.outbox import pgoutput
    from connectors.outbox.errors import MalformedStream


def decode_anything(frame: bytes) -> None:
    """A frame as it could come: the first byte chooses between a keepalive and a log frame."""
    try:
        if frame[:1] == b"k":
            pgoutput.read_keepalive(frame)
        else:
            pgoutput.decode(frame, min(len(frame), 1))
    except MalformedStream:
        pass


if __name__ == "__main__":
    atheris.Setup(sys.argv, decode_anything)
    atheris.Fuzz()
