"""What looks now and then from beside the connector, whatever keeps that waiting."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Self

_END_WITHIN_S = 2.0


class Lookout(ABC):
    """A thread of its own that looks every `every_s` seconds while this is entered."""

    def __init__(self, name: str, every_s: float) -> None:
        self._every_s = every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(_END_WITHIN_S)

    def _run(self) -> None:
        while not self._ended.wait(self._every_s):
            self._look()

    @abstractmethod
    def _look(self) -> None:
        """Once every `every_s` seconds."""
