"""`python -m dualview.cli`: the same as `dualview`."""

import sys

from dualview.cli import main

sys.exit(main())
