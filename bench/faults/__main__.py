"""`python -m bench.faults …`: the comparison under faults, with its options."""

from __future__ import annotations

import sys

from bench.faults import main

sys.exit(main(sys.argv[1:]))
