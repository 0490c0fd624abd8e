"""Waiting for something that other processes bring about, for the benchmarks and the tests with
real clients."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class TooLate(AssertionError):
    """Something that had to happen did not within its time; the text says what."""


def wait_for(probe: Callable[[], T], what: str, timeout: float = 20.0) -> T:
    """What ``probe`` returns, as soon as it is true. ``timeout``: seconds. Raises
    :class:`TooLate`."""
    deadline = time.monotonic() + timeout
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TooLate(f"not within {timeout:g} s: {what} (last seen: {value!r})")
        time.sleep(0.05)
