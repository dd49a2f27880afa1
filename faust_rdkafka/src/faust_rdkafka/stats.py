"""What a worker has done, stage by stage; written by the transport, read by anybody."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(slots=True)
class Stats:
    """Counts since start. `*_s` are seconds that the stage took."""

    batches: int = 0
    records: int = 0
    outputs: int = 0
    changelog_records: int = 0
    dead_letters: int = 0
    reruns: int = 0  # batches run record by record because an agent raised
    abandoned: int = 0  # batches dropped because their partitions were taken away
    aborts: int = 0
    retries: int = 0  # calls to librdkafka that were made again
    timer_batches: int = 0
    rebalances: int = 0
    batch_records_largest: int = 0
    fetch_s: float = 0.0  # in the fetch thread, waiting and decoding not counted
    decode_s: float = 0.0  # in the fetch thread; what is decoded at delivery counts as the agents'
    agent_s: float = 0.0  # from delivery to the last acknowledgement
    produce_s: float = 0.0  # handing records to librdkafka
    commit_s: float = 0.0  # offsets, flush and commit
    store_s: float = 0.0  # writing persistent stores, after the commit
    restore_s: float = 0.0
    restore_records: int = 0  # read in the running or last restore
    restore_total: int = 0  # offsets to read in it, an upper bound of the records
    restore_per_s: float = 0.0  # records a second in it
    restoring: bool = False

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
