"""How table keys and values become the bytes of a changelog record, and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Codec:
    dumps: Callable[[Any], bytes]
    loads: Callable[[bytes], Any]


def _same(data: bytes) -> bytes:
    return data


STR = Codec(str.encode, bytes.decode)
BYTES = Codec(_same, _same)
JSON = Codec(orjson.dumps, orjson.loads)
