"""A worker in whose clock it is an hour later, as after an outage of that hour: `late_worker.py INDEX PORT`."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

from schemas.envelope import now
from streams.worker.process import WorkerSettings, work
from tally import logs
from tally.settings import Settings

OUTAGE = timedelta(hours=1)


def main() -> None:
    logs.configure("worker-late")
    known = Settings()
    settings = WorkerSettings(known.kafka_bootstrap, int(sys.argv[1]), "127.0.0.1", int(sys.argv[2]), known.data_dir)
    raise SystemExit(asyncio.run(work(settings, lambda: now() + OUTAGE)))


if __name__ == "__main__":
    main()
