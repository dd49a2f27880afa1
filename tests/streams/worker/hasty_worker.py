"""A worker in whose clock ten minutes are a second, for what takes long: `hasty_worker.py INDEX PORT`."""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime

from schemas.envelope import now
from streams.worker.process import WorkerSettings, work
from tally import logs
from tally.settings import Settings

TIMES_FASTER = 600


def main() -> None:
    logs.configure("worker-hasty")
    known, began = Settings(), now()

    def clock() -> datetime:
        moment = began + (now() - began) * TIMES_FASTER
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)

    settings = WorkerSettings(known.kafka_bootstrap, int(sys.argv[1]), "127.0.0.1", int(sys.argv[2]), known.data_dir)
    raise SystemExit(asyncio.run(work(settings, clock)))


if __name__ == "__main__":
    main()
