"""The data plane's events on the event loop: an eventfd becomes calls.

At most :data:`BATCH` events are drained per wake-up, so that a flood of punts cannot keep HTTP and
timers waiting; when more wait, the rest follows in the loop's next turn. A handler that raises is
a mistake of ours: it is reported, and the events behind it are still handled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .api import Event, Forwarder

BATCH = 64


class EventBridge:
    """``handle`` gets each event; ``failed`` what it raised. Both are called on the loop."""

    def __init__(
        self,
        forwarder: Forwarder,
        handle: Callable[[Event], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._forwarder = forwarder
        self._handle = handle
        self._failed = failed
        self._loop: asyncio.AbstractEventLoop | None = None
        self._again: asyncio.Handle | None = None
        self._fd = -1

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._fd = self._forwarder.fileno()
        loop.add_reader(self._fd, self.drain)

    def stop(self) -> None:
        """Idempotent; must come before the forwarder is closed."""
        if self._loop is not None:
            self._loop.remove_reader(self._fd)
            self._loop = None
        if self._again is not None:
            self._again.cancel()
            self._again = None

    def drain(self) -> None:
        """Handle one batch."""
        self._again = None
        try:
            events = self._forwarder.poll(BATCH)
        except Exception as error:
            self._failed(error)
            return
        for event in events:
            try:
                self._handle(event)
            except Exception as error:
                self._failed(error)
        if len(events) >= BATCH and self._loop is not None:
            # The descriptor may have been read empty by poll() while events are left.
            self._again = self._loop.call_soon(self.drain)
