"""Entry of the engine process; see `main.py`."""

import sys

from quire.engine.process.main import main

sys.exit(main(sys.argv[1], int(sys.argv[2])))
