"""`python -m k3.cli`: the same as `k3`."""

import sys

from k3.cli import main

sys.exit(main())
