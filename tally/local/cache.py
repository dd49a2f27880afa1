"""Where fetched files are kept between runs and shared by all data directories."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_dir() -> Path:
    """`$XDG_CACHE_HOME/tally`, else the platform's usual place below the home directory."""
    configured = os.environ.get("XDG_CACHE_HOME")
    if configured and Path(configured).is_absolute():  # the XDG specification: relative paths are ignored
        return Path(configured) / "tally"
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "tally"
