"""A worker whose code has a fault: it cannot read an order of the customer `unreadable`. `blind_worker.py INDEX PORT`."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from schemas.codec import AvroCodec
from schemas.envelope import now
from schemas.errors import Undecodable
from schemas.messages import OrderCreated
from streams.worker.process import WorkerSettings, work
from tally import logs
from tally.settings import Settings


class Blind(AvroCodec):
    """Everything but those orders."""

    def decode(self, payload: bytes | None) -> Any:
        body = super().decode(payload)
        if isinstance(body, OrderCreated) and body.customer_id == "unreadable":
            raise Undecodable("this version of the code cannot read it")
        return body


def main() -> None:
    logs.configure("worker-blind")
    known = Settings()
    settings = WorkerSettings(known.kafka_bootstrap, int(sys.argv[1]), "127.0.0.1", int(sys.argv[2]), known.data_dir)
    raise SystemExit(asyncio.run(work(settings, now, Blind())))


if __name__ == "__main__":
    main()
