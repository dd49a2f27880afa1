"""What is asked of a replay: from where to where, which records, and what it came to once its bounds were fixed."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from schemas.envelope import to_rfc3339
from schemas.messages import MESSAGES
from schemas.partitioning import partition_of
from schemas.topics import APP_ID, TOPICS
from tally.reading.moments import parse_moment
from tally.reading.places import Kind, Place, Span, parse_span
from tally.reading.reader import Partition, Reader
from tally.replaying.errors import WrongReplay

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Bounds:
    """Which part of the topics is meant, in the words of the command line; nothing given means everything.

    `offset` as `-o` has it, `from_` and `to` moments of recording (`to` not included), `keys` aggregate ids, `types`
    as on the wire, versions with both ends included, `records_max` the most records to be replayed.
    """

    offset: str = "beginning"
    from_: str | None = None
    to: str | None = None
    keys: tuple[str, ...] = ()
    partition: int | None = None
    types: tuple[str, ...] = ()
    from_version: int | None = None
    to_version: int | None = None
    records_max: int | None = None


EVERYTHING = Bounds()


@dataclass(frozen=True, slots=True)
class Range:
    """Offsets of one partition, `end` not included, as they were fixed when the replay began."""

    topic: str
    partition: int
    start: int
    end: int

    @property
    def place(self) -> Partition:
        """Topic and partition."""
        return self.topic, self.partition


def check_bounds(bounds: Bounds) -> None:
    """Raises WrongReplay for a bound that no topic could satisfy."""
    for type_ in bounds.types:
        if type_ not in MESSAGES:
            raise WrongReplay(f"--type {type_}: no message of ours; on the wire they look like ORDER_CREATED")
    if "" in bounds.keys:
        raise WrongReplay("-k is empty")
    first, last = bounds.from_version, bounds.to_version
    for name, version in (("--from-version", first), ("--to-version", last)):
        if version is not None and version < 1:
            raise WrongReplay(f"{name} {version}: versions count from 1")
    if first is not None and last is not None and last < first:
        raise WrongReplay(f"--to-version {last} lies before --from-version {first}")
    if bounds.records_max is not None and bounds.records_max < 1:
        raise WrongReplay(f"-n {bounds.records_max}: at least 1")


def fix(reader: Reader, topics: tuple[str, ...], bounds: Bounds, now: datetime) -> tuple[tuple[Range, ...], Bounds]:
    """The bounds as offsets of each partition that is meant, no further than the present end; and as they stay.

    Moments stay as RFC 3339 in `from_` and `to`, and records are asked for their own times: Kafka's search for a time
    stops at markers of transactions, whose times are those of the broker, so that its answer is good for a start alone.
    Raises WrongReplay, and UnknownTopic and Unreachable of the reader.
    """
    check_bounds(bounds)
    if not topics:
        raise WrongReplay("which topics?")
    span = _span(bounds, now)
    found: list[Range] = []
    for topic in dict.fromkeys(topics):
        _check_source(topic)
        found += _of_topic(reader, topic, bounds, span)
    return tuple(found), _fixed(bounds, span)


def _of_topic(reader: Reader, topic: str, bounds: Bounds, span: Span) -> list[Range]:
    numbers = _partitions(reader.partitions(topic), topic, bounds)
    found, ends = [], []
    for number in numbers:
        low, high = reader.bounds((topic, number))
        ends.append(high)
        if span.start.kind is Kind.OFFSET and span.start.value < low:
            raise WrongReplay(f"-o {bounds.offset}: {topic}/{number} begins at offset {low}; what was before is gone")
        by_offset = span.end if span.end is not None and span.end.kind is not Kind.MOMENT else None
        start, end = reader.resolve(Span(span.start, by_offset), (topic, number), APP_ID)
        end = high if end is None else end
        found.append(Range(topic, number, min(start, end), end))
    if span.start.kind is Kind.OFFSET and span.start.value > max(ends):
        where = ", ".join(f"{topic}/{number} at {end}" for number, end in zip(numbers, ends, strict=True))
        raise WrongReplay(f"-o {bounds.offset} lies beyond every end: {where}")
    return found


def _fixed(bounds: Bounds, span: Span) -> Bounds:
    moments = [each is not None and each.kind is Kind.MOMENT for each in (span.start, span.end)]
    return replace(
        bounds,
        offset="beginning" if any(moments) else bounds.offset,
        from_=_text(span.start) if moments[0] else None,
        to=_text(span.end) if span.end is not None and moments[1] else None,
    )


def _text(place: Place) -> str:
    try:
        return to_rfc3339(datetime.fromtimestamp(place.value / 1_000, UTC))
    except (ValueError, OverflowError, OSError):
        raise WrongReplay(f"{place.value} ms since 1970: no moment that a calendar knows") from None


def _partitions(there: list[int], topic: str, bounds: Bounds) -> list[int]:
    if bounds.partition is not None and bounds.partition not in there:
        raise WrongReplay(f"-p {bounds.partition}: {topic} has partitions {there[0]} to {there[-1]}")
    wanted = set(there) if bounds.partition is None else {bounds.partition}
    if bounds.keys:
        homes = {partition_of(key.encode(), len(there)) for key in bounds.keys}
        if not wanted & homes:
            raise WrongReplay(f"-p {bounds.partition}: of {topic} these keys lie in partition {sorted(homes)}")
        wanted &= homes
    return sorted(wanted)


def _span(bounds: Bounds, now: datetime) -> Span:
    try:
        span = parse_span(bounds.offset, now)
    except ValueError as error:
        raise WrongReplay(f"-o: {error}") from None
    if bounds.from_ is None and bounds.to is None:
        _check_not_ahead(span.start, f"-o {bounds.offset}", now)
        return span
    if bounds.offset not in ("beginning", "start"):
        raise WrongReplay("-o and --from/--to say the same in two ways: give one of them")
    start = None if bounds.from_ is None else _moment("--from", bounds.from_, now)
    end = None if bounds.to is None else _moment("--to", bounds.to, now)
    if start is not None and end is not None and end < start:
        raise WrongReplay(f"--to {bounds.to} lies before --from {bounds.from_}")
    begin = span.start if start is None else Place(Kind.MOMENT, start)
    _check_not_ahead(begin, f"--from {bounds.from_}", now)
    return Span(begin, None if end is None else Place(Kind.MOMENT, end))


def _check_not_ahead(start: Place, said: str, now: datetime) -> None:
    if start.kind is Kind.MOMENT and start.value > now.timestamp() * 1_000:
        raise WrongReplay(f"{said} lies in the future")


def _moment(name: str, text: str, now: datetime) -> int:
    try:
        return parse_moment(text, now)
    except (ValueError, OverflowError):
        raise WrongReplay(f"{name} {text}: no moment: RFC 3339, epoch, or a duration back such as 90m") from None


def _check_source(topic: str) -> None:
    known = TOPICS.get(topic)
    if known is not None and (known.name.endswith("-changelog") or known.name.startswith("connect-")):
        raise WrongReplay(f"{topic} holds no messages, but {known.messages}; `tally consume` shows them")
