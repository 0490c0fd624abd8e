"""Logging of the process: one line an event on stderr, and a gate for lines that could flood.

Loggers are named after their modules. The data plane only counts; what repeats up here (a refused
datagram, a full queue) goes through :class:`Occasionally`, once a minute with the number skipped.
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


class Occasionally:
    """Lets a message through at most once every ``interval`` seconds."""

    def __init__(self, logger: logging.Logger, interval: float = 60.0) -> None:
        self._logger = logger
        self._interval = interval
        self._next = float("-inf")
        self._skipped = 0

    def warning(self, now: float, message: str, *args: object) -> None:
        """Log, or count what was not logged; ``now`` in seconds, monotonic."""
        if now < self._next:
            self._skipped += 1
            return
        more = f" ({self._skipped} more like it)" if self._skipped else ""
        self._next, self._skipped = now + self._interval, 0
        self._logger.warning(message + more, *args)
