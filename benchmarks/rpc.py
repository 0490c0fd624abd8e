"""Child processes of a benchmark: pinned, and driven by one call at a time over a pipe.

A worker object lives in a process of its own; ``Remote.call("name", …)`` runs its method there and
gives the result back. Between calls the worker's ``idle()`` runs (or the process sleeps in the
pipe), so a publisher can keep its beat without a thread.
"""

from __future__ import annotations

import multiprocessing
import os
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any


class RemoteError(RuntimeError):
    """The worker's method raised; the text is its traceback's last line and the rest follows."""


class Worker:
    """Base of the objects that live in a child process."""

    def idle(self) -> float | None:
        """Do what is due and return the seconds until the next thing is (None: nothing)."""
        return None

    def cpu_seconds(self) -> float:
        return time.process_time()


def _serve(
    connection: Connection, make: Callable[..., Worker], arguments: dict[str, Any], cpu: int | None
) -> None:
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    try:
        worker = make(**arguments)
        connection.send((True, None))
    except Exception:
        connection.send((False, traceback.format_exc()))
        return
    while True:
        if not connection.poll(worker.idle()):
            continue
        try:
            name, values = connection.recv()
        except EOFError:
            return
        try:
            connection.send((True, getattr(worker, name)(*values)))
        except Exception:
            connection.send((False, traceback.format_exc()))


class Remote:
    """The caller's end. Closing it ends the process."""

    def __init__(self, make: Callable[..., Worker], cpu: int | None, **arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, make, arguments, cpu), daemon=True
        )
        self._process.start()
        theirs.close()
        self._result(60.0)

    def start(self, name: str, *values: Any) -> None:
        """Begin a call; :meth:`finish` waits for it."""
        self._connection.send((name, values))

    def finish(self, timeout: float = 120.0) -> Any:
        return self._result(timeout)

    def call(self, name: str, *values: Any, timeout: float = 120.0) -> Any:
        self.start(name, *values)
        return self._result(timeout)

    def _result(self, timeout: float) -> Any:
        if not self._connection.poll(timeout):
            raise RemoteError(f"no answer within {timeout:g} s")
        try:
            good, value = self._connection.recv()
        except EOFError:
            raise RemoteError("the process ended") from None
        if not good:
            last = str(value).strip().splitlines()[-1]
            raise RemoteError(f"{last}\n{value}")
        return value

    def close(self) -> None:
        self._connection.close()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(5)
