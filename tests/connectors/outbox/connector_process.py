"""The connector as a process of its own, to be killed; arguments are those of its command line."""

import sys

from connectors.outbox import main_standalone

if __name__ == "__main__":
    sys.exit(main_standalone(sys.argv[1:]))
