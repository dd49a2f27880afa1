"""Regular expressions and replacements as Java writes them, for the routes of Kafka Connect's RegexRouter."""

from __future__ import annotations

import re
from collections.abc import Callable

from connectors.outbox.errors import BadOption

_NAMED_GROUP = re.compile(r"\(\?<(?=[A-Za-z])")
_PROPERTY = re.compile(r"\\p\{(\w+)\}|\\h")
_NAME = re.compile(r"\{([A-Za-z][A-Za-z0-9]*)\}")
# Java's POSIX classes, which are of ASCII; as ranges they fit within [] and alone.
_RANGE_BY_PROPERTY = {
    "Lower": "a-z",
    "Upper": "A-Z",
    "Alpha": "a-zA-Z",
    "Digit": "0-9",
    "Alnum": "a-zA-Z0-9",
    "XDigit": "0-9a-fA-F",
    "Space": r" \t\n\x0b\f\r",
    "Blank": r" \t",
    "Punct": r"!-/:-@\[-`{-~",
    "ASCII": r"\x00-\x7f",
}


def java_pattern(regex: str) -> re.Pattern[str]:
    r"""The same expression in Python's style; \d, \w and \s are of ASCII as in Java. Raises BadOption for what Python lacks."""
    if "&&" in regex:
        raise BadOption(f"regular expression {regex!r}: && within [] is not known here")
    try:
        return re.compile(_NAMED_GROUP.sub("(?P<", _properties_as_ranges(regex)), re.ASCII)
    except re.error as wrong:
        raise BadOption(f"regular expression {regex!r}: {wrong}") from None


def java_router(regex: str, replacement: str) -> Callable[[str], str]:
    """The rule of RegexRouter: a text that `regex` matches as a whole is replaced, any other stays. Raises BadOption."""
    pattern = java_pattern(regex)
    parts = _replacement_parts(pattern, replacement)

    def route(text: str) -> str:
        if not pattern.fullmatch(text):
            return text
        # As Java does: the whole must match, but what is replaced is the first match, which may be shorter.
        found = pattern.search(text)
        if found is None:
            return text
        made = "".join((found[part] or "") if isinstance(part, int) else part for part in parts)
        return text[: found.start()] + made + text[found.end() :]

    return route


def _properties_as_ranges(regex: str) -> str:
    def ranged(match: re.Match[str]) -> str:
        found = _RANGE_BY_PROPERTY.get(match[1] or "Blank")
        if found is None:
            raise BadOption(f"regular expression {regex!r}: {match[0]} is not known here")
        before = regex[: match.start()]
        is_within = before.rfind("[") > before.rfind("]")
        return found if is_within else f"[{found}]"

    return _PROPERTY.sub(ranged, regex)


def _replacement_parts(pattern: re.Pattern[str], replacement: str) -> list[str | int]:
    r"""Texts and numbers of groups: `$1`, `${name}`, `\x` for x itself."""
    parts: list[str | int] = []
    at = 0
    while at < len(replacement):
        character = replacement[at]
        if character == "\\" and at + 1 < len(replacement):
            parts.append(replacement[at + 1])
            at += 2
        elif character == "$":
            number, at = _group(pattern, replacement, at + 1)
            parts.append(number)
        else:
            parts.append(character)
            at += 1
    return parts


def _group(pattern: re.Pattern[str], replacement: str, at: int) -> tuple[int, int]:
    """(number of the group named at `at`, place behind its name)."""
    if (named := _NAME.match(replacement, at)) is not None:
        if named[1] not in pattern.groupindex:
            raise BadOption(f"route {pattern.pattern!r} -> {replacement!r}: there is no group {named[1]}")
        return pattern.groupindex[named[1]], named.end()
    if not replacement[at : at + 1].isdigit() or int(replacement[at]) > pattern.groups:
        raise BadOption(f"route {pattern.pattern!r} -> {replacement!r}: $ is followed by no group that exists")
    number, at = int(replacement[at]), at + 1
    # Java takes further digits for as long as there is such a group.
    while replacement[at : at + 1].isdigit() and number * 10 + int(replacement[at]) <= pattern.groups:
        number, at = number * 10 + int(replacement[at]), at + 1
    return number, at
