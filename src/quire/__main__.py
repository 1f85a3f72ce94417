"""`python -m quire`: the same command as `quire`."""

import sys

from quire.api.cli import main

if __name__ == "__main__":
    sys.exit(main())
