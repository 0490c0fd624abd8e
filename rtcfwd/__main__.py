"""``python -m rtcfwd`` is the ``rtcfwd`` command."""

import sys

from rtcfwd.cli import main

sys.exit(main())
