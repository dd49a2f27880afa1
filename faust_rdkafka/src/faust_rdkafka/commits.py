"""A batch's transaction: what was sent, the last value of each dirty key, the offsets; and the way back from a batch."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka import TopicPartition
from faust.types import TP

from .errors import Abandoned, NoDeadLetter
from .fetch import Fetcher
from .producer import Producer
from .records import RawRecord
from .stats import Stats
from .stores.after_commit import StoreWrites
from .table import Table
from .table_partition import TablePartition
from .transaction import Content, Outgoing

log = logging.getLogger(__name__)

Changed = list[tuple[Table, TablePartition, list[tuple[Any, Any]]]]
Mark = tuple[int, int]  # records sent, dead letters among them


class Commits:
    """Holds what the running batch did until it is committed or undone, and how far commits have come."""

    def __init__(self, app: Any, fetcher: Fetcher, stats: Stats) -> None:
        self._app = app
        self._fetcher = fetcher
        self._stats = stats
        self.positions: dict[TP, int] = {}  # next offset to process; moves past markers
        self.offsets: dict[TP, int] = {}  # next offset to commit
        self._letters = 0  # dead letters of the running batch
        self.hooks: list[Callable[[str, int, Any], object]] = []

    def assigned(self, starts: dict[TP, int]) -> None:
        self.positions = dict(starts)
        self.offsets = dict(starts)

    def revoked(self) -> None:
        self.positions = {}
        self.offsets = {}

    def passed(self, ends: dict[TP, int]) -> None:
        """Up to here everything was processed, markers included."""
        for tp, end in ends.items():
            if tp in self.positions:
                self.positions[tp] = max(self.positions[tp], end)

    # -- while the batch runs

    def set_aside(self, record: RawRecord, reason: str, error: BaseException) -> None:
        """Put a record's dead letter into the running batch's transaction."""
        hook = self._app.transport.options.dead_letter
        place = f"{record.topic}[{record.partition}]@{record.offset}"
        if hook is None:
            raise NoDeadLetter(f"{place} is {reason}: {error!r}; no dead_letter hook is set") from error
        log.warning("dead letter: %s is %s: %r", place, reason, error)
        topic, key, value, headers = hook(record, reason, error)
        self._app.producer.of_batch.append((topic, key, value, -1, headers, 0))
        self._letters += 1

    def has_work(self) -> bool:
        """Whether something was sent or written since the last commit."""
        return bool(self._app.producer.of_batch) or any(changed or rows.staged for _, rows, changed in self._changed())

    def begin_record(self) -> Mark:
        """From here on one record can be undone alone."""
        for rows in self._all_rows():
            rows.begin_record()
        return len(self._app.producer.of_batch), self._letters

    def end_record(self, mark: Mark, *, keep: bool) -> None:
        for rows in self._all_rows():
            rows.end_record(keep)
        if not keep:
            sent, self._letters = mark
            del self._app.producer.of_batch[sent:]

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """What is written and sent within is undone if it raises, and the batch goes on; no await within."""
        producer: Producer = self._app.producer
        sent, letters = len(producer.of_batch), self._letters
        parts = [(rows, rows.begin_part()) for rows in self._all_rows()]
        try:
            yield
        except BaseException:
            for rows, before in parts:
                rows.end_part(before, keep=False)
            del producer.of_batch[sent:]
            self._letters = letters
            raise
        for rows, before in parts:
            rows.end_part(before, keep=True)

    def undo(self) -> None:
        """Back to what was committed."""
        self._app.producer.of_batch = []
        self._letters = 0
        for rows in self._all_rows():
            rows.roll_back()

    # -- the transaction

    async def commit(self, offsets: dict[TP, int]) -> bool:
        """Whether it was committed. If not, all was undone, but for what was sent aside."""
        app, fetcher = self._app, self._fetcher
        producer: Producer = app.producer
        epoch = fetcher.epoch
        aside, producer.aside = producer.aside, []
        changed = self._changed()
        records: list[Outgoing] = [*producer.of_batch, *aside]
        content = Content(
            records,
            len(records),
            [TopicPartition(tp.topic, tp.partition, offset) for tp, offset in offsets.items()],
            fetcher.metadata,
            lambda: fetcher.epoch == epoch,
        )
        records.extend(_changelog_records(changed))
        stores = StoreWrites(((table.changelog_topic_name, rows) for table, rows, _ in changed), self._stats)
        try:
            await asyncio.get_running_loop().run_in_executor(producer.pool, self._write, content, stores)
        except Abandoned as why:
            log.warning("batch abandoned: %s", why)
            self._stats.abandoned += 1
            producer.aside = aside + producer.aside
            self.undo()
            return False
        producer.of_batch = []
        self._stats.dead_letters += self._letters
        self._letters = 0
        self._stats.outputs += content.changelog_at
        self._stats.changelog_records += len(records) - content.changelog_at
        self.offsets.update(offsets)
        for tp, offset in offsets.items():
            self.positions[tp] = max(self.positions.get(tp, 0), offset)
        self._committed(changed, content)
        return True

    def _write(self, content: Content, stores: StoreWrites) -> None:
        """In the commit thread, so that the stores' order is the changelogs'."""
        self._app.producer.transactions.run(content)
        stores.write(content.records[content.changelog_at :], content.changelog_offsets)

    def _committed(self, changed: Changed, content: Content) -> None:
        touched = [
            [*(key for key, _ in changes), *(table.key_codec.loads(key) for key, _ in rows.staged)]
            for table, rows, changes in changed
        ]
        for table, rows, _ in changed:
            rows.committed_now()
            last = content.changelog_offsets.get((table.changelog_topic_name, rows.number))
            if last is not None:
                rows.changelog_offset = last
        for (table, rows, _), keys in zip(changed, touched, strict=True):
            if keys:
                for hook in self.hooks:
                    hook(table.name, rows.number, keys)

    def _changed(self) -> Changed:
        return [
            (table, rows, rows.changes())
            for table in self._app.tables.values()
            for rows in table.owned().values()
            if rows.undo or rows.staged
        ]

    def _all_rows(self) -> Iterator[TablePartition]:
        for table in self._app.tables.values():
            yield from table.owned().values()


def _changelog_records(changed: Changed) -> Iterator[Outgoing]:
    for table, rows, changes in changed:
        topic, number = table.changelog_topic_name, rows.number
        keys, values = table.key_codec.dumps, table.value_codec.dumps
        for key, value in changes:
            yield topic, keys(key), None if value is None else values(value), number, None, 0
        for key, value in rows.staged:
            yield topic, key, value, number, None, 0
