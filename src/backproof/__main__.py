"""`python -m backproof` is the command `backproof`."""

import sys

from backproof.cli import main

sys.exit(main())
