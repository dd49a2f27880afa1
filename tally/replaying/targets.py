"""Where a replay goes: `print`, `topic:NAME`, `file:PATH` (JSON lines, or an Avro container where it ends in `.avro`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from schemas.envelope import Message
from tally.reading.reader import Record
from tally.replaying.errors import CannotGoOn, WrongReplay

_LEFT = "whoever read what is printed has left"


class Kind(StrEnum):
    """The kinds of target, as typed before the colon."""

    PRINT = "print"
    TOPIC = "topic"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class Into:
    """A target as typed; `name` is the topic, or the whole path of the file."""

    kind: Kind
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else str(self.kind)


class Target(Protocol):
    """Takes records. Its methods are called in this order: claim, open, then put and settle in turn, close."""

    def claim(self, is_new: bool) -> None:
        """Keeps other processes of this machine out; makes what is new. Raises WrongReplay, TakenOver, CannotGoOn."""

    def open(self, length: int) -> int:
        """Goes on behind the first `length` bytes, which are durable; gives them, or what a new target begins with."""

    def put(self, record: Record, message: Message) -> None:
        """Takes one record."""

    def settle(self) -> int:
        """Makes durable what was taken, where the journal does not; gives the durable length. Raises CannotGoOn."""

    def close(self, is_unused: bool = False) -> None:
        """Lets go; takes away what it made if that was for nothing."""


class Shown:
    """Hands each record to a function, a screen say; after a crash the last ones come again."""

    def __init__(self, show: Callable[[Record, Message], object], flush: Callable[[], None] = lambda: None) -> None:
        self._show, self._flush = show, flush

    def claim(self, is_new: bool) -> None:
        """Nothing can be kept from others here."""

    def open(self, length: int) -> int:
        """Nothing is durable here."""
        return 0

    def put(self, record: Record, message: Message) -> None:
        """See `Target.put`."""
        try:
            self._show(record, message)
        except BrokenPipeError:
            raise CannotGoOn(_LEFT) from None

    def settle(self) -> int:
        """See `Target.settle`."""
        try:
            self._flush()
        except BrokenPipeError:
            raise CannotGoOn(_LEFT) from None
        return 0

    def close(self, is_unused: bool = False) -> None:
        """Nothing to let go."""


def parse_into(text: str) -> Into:
    """What `--into` says. Raises WrongReplay."""
    kind, _, name = text.partition(":")
    if text == Kind.PRINT:
        return Into(Kind.PRINT)
    if kind == Kind.TOPIC and name:
        return Into(Kind.TOPIC, name)
    if kind == Kind.FILE and name:
        return Into(Kind.FILE, str(Path(name).absolute()))
    if kind == "table" and name:
        raise WrongReplay(f"--into {text}: its owners build a new version of a table: tally replay build {name}")
    raise WrongReplay(f"--into {text}: print, topic:NAME or file:PATH (.avro for a container, else JSON lines)")
