"""`python -m bench.outbox`."""

import sys

from bench.outbox import main

if __name__ == "__main__":
    sys.exit(main())
