"""Logging of the process: one line an event, on stderr, by loggers named after their modules.

Joins and leaves are logged at info, refused requests at debug. Nothing is logged per packet: the
data plane counts, and /metrics and the API show it.
"""

from __future__ import annotations

import logging
import sys

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def configure(level: str) -> None:
    """Set up the root logger at ``level`` (debug, info, warning, error)."""
    logging.basicConfig(level=level.upper(), format=FORMAT, stream=sys.stderr, force=True)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    if level != "debug":  # its client errors are the peers' (bad HTTP), not ours
        logging.getLogger("aiohttp.server").setLevel(logging.ERROR)
