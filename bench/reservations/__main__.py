"""`python -m bench.reservations …`: this benchmark alone, with its options."""

from __future__ import annotations

import sys

from bench.reservations import main

sys.exit(main(sys.argv[1:]))
