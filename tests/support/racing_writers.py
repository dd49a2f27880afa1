"""Writers of outbox rows that share aggregates and commit in another order than they drew their numbers in."""

from __future__ import annotations

import random
import threading

import psycopg

_INSERT = "insert into outbox (aggregatetype, aggregateid, type, payload) values ('t', %s, 'T', %s)"
# Of ten transactions about so many are rolled back.
_ROLLED_BACK = 2


class RacingWriters:
    """Threads that write until they are ended; each transaction holds a few rows and stays open for a random while."""

    def __init__(self, url: str, writers: int = 4, aggregates: int = 5, seed: int = 1) -> None:
        self._url, self._aggregates, self._seed = url, aggregates, seed
        self._ended = threading.Event()
        self.rolled_back = 0
        self._threads = [threading.Thread(target=self._write, args=(writer,), daemon=True) for writer in range(writers)]

    def __enter__(self) -> RacingWriters:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Lets each finish its transaction."""
        self._ended.set()
        for thread in self._threads:
            thread.join(60)

    def _write(self, writer: int) -> None:
        draw, turn = random.Random(f"{self._seed}/{writer}"), 0
        while not self._ended.is_set():
            try:
                with psycopg.connect(self._url) as connection:
                    while not self._ended.is_set():
                        turn += 1
                        self._transaction(connection, draw, f"{writer}-{turn}")
            except psycopg.Error:
                # The server is away, or was: whatever was open is rolled back.
                self._ended.wait(0.05)

    def _transaction(self, connection: psycopg.Connection, draw: random.Random, name: str) -> None:
        for row in range(draw.randint(1, 4)):
            connection.execute(_INSERT, (f"k{draw.randrange(self._aggregates)}", f"{name}-{row}".encode()))
            self._ended.wait(draw.choice((0, 0, 0.001, 0.01)))
        if draw.randrange(10) < _ROLLED_BACK:
            self.rolled_back += 1
            connection.rollback()
        else:
            connection.commit()
