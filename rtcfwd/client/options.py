"""What the two client commands share: argument types, and running one to its exit status."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import re
import signal
import sys
from collections.abc import Coroutine, Iterable
from typing import Any

from rtcfwd.client.whip import ClientError, check_url


def url(text: str) -> str:
    try:
        return check_url(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e7:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of seconds")
    return value


def size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{3,4})x(\d{2,4})", text)
    if match:
        width, height = int(match[1]), int(match[2])
        if width >= 160 and height >= 90 and not width % 2 and not height % 2:
            return width, height
    raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT, even and at least 160x90")


def bitrate(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kM]?)", text)
    value = int(float(match[1]) * {"": 1, "k": 1000, "M": 1_000_000}[match[2]]) if match else 0
    if not 10_000 <= value <= 100_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a bitrate from 10k to 100M")
    return value


async def wait_for_end(futures: Iterable[asyncio.Future[Any]], seconds: float) -> bool:
    """Wait until one of `futures` is done or `seconds` are over.

    True if the user interrupted meanwhile: that ends a client's job, and its figures still count.
    """
    try:
        await asyncio.wait(futures, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()
        return True
    return False


def run_client(name: str, job: Coroutine[Any, Any, int]) -> int:
    """Run a client's coroutine. SIGINT and SIGTERM stop it cleanly (status 0: it did its job until
    then); a :class:`ClientError` is one line on standard error and status 1."""
    # aiortc and aioice tell of every packet they cannot use; the figures say what matters.
    logging.getLogger("aiortc").setLevel(logging.ERROR)
    logging.getLogger("aioice").setLevel(logging.ERROR)
    try:
        return asyncio.run(_until_signal(job))
    except ClientError as error:
        print(f"rtcfwd {name}: {error}", file=sys.stderr, flush=True)
        return 1


async def _until_signal(job: Coroutine[Any, Any, int]) -> int:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(job)
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, stop)
    try:
        return await task
    except asyncio.CancelledError:
        if stopped:
            return 0
        raise
