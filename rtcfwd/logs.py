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
    logging.getLogger("aiohttp.server").addFilter(_without_bad_http)


def _without_bad_http(record: logging.LogRecord) -> bool:
    """aiohttp logs what is no HTTP as an error of ours, with a traceback that holds the request's
    bytes, and so perhaps a token. It is the peer's; nobody shall fill the log with it."""
    from aiohttp.http_exceptions import HttpProcessingError

    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))
