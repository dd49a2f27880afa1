"""A Debezium connector's JSON, option by option: what is asked for is marked, what nobody asked for is refused by name."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from connectors.outbox.debezium_options import ONLY, is_without_effect
from connectors.outbox.errors import BadOption

_VALUE_SHOWN_MAX = 80
_SECRET = re.compile(r"password|secret|jaas|sslkey|token", re.IGNORECASE)
_ENVIRONMENT = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")
_PROVIDER = re.compile(r"\$\{\w+:.*\}")


class Options:
    """The options of one file. Every question marks its option as known; `refuse_the_rest` names the others."""

    def __init__(self, name: str, values: Mapping[str, str]) -> None:
        self.name, self._values = name, dict(values)
        self._asked: set[str] = set()

    @classmethod
    def read(cls, path: Path) -> Options:
        """From a file: `{"name": …, "config": {…}}` or the options alone. Raises BadOption."""
        try:
            content = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise BadOption(f"--debezium-config {path}: {error}") from None
        return cls.of(content, str(path))

    @classmethod
    def of(cls, content: Any, where: str) -> Options:
        """From the parsed JSON. Raises BadOption."""
        if not isinstance(content, dict):
            raise BadOption(f"--debezium-config {where}: no object of options")
        given = content.get("config")
        if isinstance(given, dict):
            beside = sorted(set(content) - {"name", "config", "tasks", "type"})
            if beside:
                raise BadOption(f"--debezium-config {where}: beside config stands {beside[0]}, which is not known")
        else:
            given = content
        options = {str(name): _text(name, value) for name, value in given.items()}
        name = str(content.get("name") or options.get("name") or "")
        options.pop("name", None)
        return cls(name, options)

    def get(self, option: str, default: str = "") -> str:
        """The option's value; an empty one counts as not given."""
        self._asked.add(option)
        return self._values.get(option, "").strip() or default

    def is_given(self, option: str) -> bool:
        return option in self._values

    def is_true(self, option: str, default: str = "false") -> bool:
        """A boolean. Raises BadOption."""
        return self.one_of(option, ("true", "false"), default).lower() == "true"

    def one_of(self, option: str, known: Collection[str], default: str) -> str:
        """A value out of the known ones, whatever its case. Raises BadOption."""
        value = self.get(option, default)
        found = next((one for one in known if one.lower() == value.lower()), None)
        if found is None:
            raise self.refusal(option, f"known are {', '.join(one or '(none)' for one in known)}")
        return found

    def number(self, option: str, default: int) -> int:
        """A whole number. Raises BadOption."""
        value = self.get(option, str(default))
        if not value.lstrip("-").isdigit():
            raise self.refusal(option, "no whole number")
        return int(value)

    def secret(self, option: str) -> str:
        """A value that may be `${env:NAME}`, a variable of the environment. Raises BadOption."""
        value = self.get(option)
        if (variable := _ENVIRONMENT.fullmatch(value)) is not None:
            found = os.environ.get(variable[1])
            if found is None:
                raise self.refusal(option, f"{variable[1]} is not set")
            return found
        if _PROVIDER.fullmatch(value):
            raise self.refusal(option, "of configuration providers only ${env:NAME} is known; or give --source-url")
        return value

    def beginning(self, prefix: str) -> list[str]:
        """Names of the options that begin so and that nobody has asked for."""
        return sorted(name for name in self._values if name.startswith(prefix) and name not in self._asked)

    def refusal(self, option: str, why: str) -> BadOption:
        """One line that names the option and its value."""
        value = self._values.get(option, "")
        shown = "…" if _SECRET.search(option) else value[:_VALUE_SHOWN_MAX]
        return BadOption(f"--debezium-config: {option}={shown!r} is not supported: {why}")

    def demand_known_values(self, known: Mapping[str, tuple[str, ...]], prefix: str = "") -> None:
        """Raises BadOption for an option of which only other values are known."""
        for option, values in known.items():
            if self.is_given(prefix + option):
                self.one_of(prefix + option, values, values[0])

    def refuse_the_rest(self) -> None:
        """Raises BadOption for the first option that is neither asked for, nor without effect."""
        self.demand_known_values(ONLY)
        for option in sorted(self._values):
            if option not in self._asked and not is_without_effect(option):
                raise self.refusal(option, "not known to this version")


def _text(name: object, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    if isinstance(value, (str, int, float)):
        return str(value)
    raise BadOption(f"--debezium-config: {name} is neither text, number nor boolean")
