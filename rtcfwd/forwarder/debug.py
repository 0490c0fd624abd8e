"""A proxy that logs every call across the boundary to the data plane, and every event from it.

Used with ``--log-level debug``. Keys are never logged: only their length.
"""

from __future__ import annotations

import logging
from typing import Any

from .api import Event, Forwarder

logger = logging.getLogger(__name__)

_QUIET = frozenset(
    {"fileno", "stream_stats", "peer_stats", "tcp_stats", "worker_stats", "memory_stats"}
)


class LoggingForwarder:
    """Behaves as the forwarder that it is given (see :class:`~rtcfwd.forwarder.api.Forwarder`)."""

    def __init__(self, forwarder: Forwarder) -> None:
        self._forwarder = forwarder

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._forwarder, name)
        if not callable(value) or name in _QUIET:
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            shown = ", ".join([*map(_show, args), *(f"{k}={_show(v)}" for k, v in kwargs.items())])
            try:
                result = value(*args, **kwargs)
            except Exception as error:
                logger.debug("%s(%s) raised %r", name, shown, error)
                raise
            logger.debug("%s(%s) = %s", name, shown, _show(result))
            return result

        return call

    def poll(self, limit: int = 64) -> list[Event]:
        events = self._forwarder.poll(limit)
        for event in events:
            logger.debug("event %s", _show(event))
        return events


def _show(value: Any) -> str:
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    data = getattr(value, "data", None)
    if isinstance(data, bytes):  # a punt
        return f"{value.protocol} {value.path} <{len(data)} bytes>"
    text = repr(value)
    return text if len(text) <= 300 else text[:297] + "..."
