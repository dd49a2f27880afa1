"""Entry point of the script `tally`: a connector becomes itself at once, all else is the command line's."""

from __future__ import annotations

import sys
from importlib import import_module

from tally.cli.becoming import become_connector


def main() -> None:
    """What the arguments of this process ask for."""
    if sys.argv[1:2] == ["connector"] and len(sys.argv) > 2:
        become_connector(*sys.argv[2:])
    # By name: loading all verbs takes longer than a connector needs for its whole start.
    import_module("tally.cli.__main__").main()


if __name__ == "__main__":
    main()
