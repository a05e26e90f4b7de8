"""`python -m snellen`. Modules in the current folder, which may hold data from elsewhere, are not imported."""

import os
import sys

if not sys.flags.safe_path and os.path.dirname(os.path.dirname(os.path.abspath(__file__))) != sys.path[0]:
    sys.path.pop(0)

from snellen.cli.main import script

script()
