"""The server under test: the real command in a process of its own, pinned to one core.

Figures come from the kernel (CPU time of all its threads to the nanosecond, resident memory) and
from the server's own API.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .netlab import enter_namespace

_READY = re.compile(r"rtcfwd: ready (http://\S+) udp:(\d+)")

_PR_SET_PDEATHSIG = 1
COMMAND = [sys.executable, "-m", "rtcfwd", "serve"]


class ServerFailed(RuntimeError):
    """The server did not come up or died; the text has the end of its log."""


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU of a process so far, ns, in total and by thread name and id; resident memory, bytes."""

    cpu_ns: int
    threads: dict[str, int]
    rss: int


def usage(pid: int) -> Usage:
    threads = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            name = (task / "comm").read_text().strip()
            threads[f"{name}/{task.name}"] = int((task / "schedstat").read_text().split()[0])
        except (OSError, IndexError):
            continue  # a thread that has just ended
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return Usage(sum(threads.values()), threads, pages * os.sysconf("SC_PAGE_SIZE"))


def core_busy_ns(cpu: int) -> int:
    """Time that core ``cpu`` was not idle so far, ns (in ticks: ±10 ms), steal time included."""
    for line in Path("/proc/stat").read_text().splitlines():
        part = line.split()
        if part[0] == f"cpu{cpu}":
            busy = sum(map(int, part[1:9])) - int(part[4]) - int(part[5])
            return busy * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    return 0


class Subject:
    """A process under test by its id; it is somebody else's and goes on when this is closed."""

    url, udp_port = "", 0  # of our own server

    def __init__(self, pid: int) -> None:
        self.pid = pid
        if not Path(f"/proc/{pid}/task").is_dir():
            raise ServerFailed(f"no process {pid} here: give the server's own id")

    def usage(self) -> Usage:
        try:
            return usage(self.pid)
        except FileNotFoundError:
            raise ServerFailed(f"the server ended: {self.log()}") from None

    def cores(self) -> set[int]:
        """Where any of its threads may run."""
        tasks = (int(task.name) for task in Path(f"/proc/{self.pid}/task").iterdir())
        return set[int]().union(*(os.sched_getaffinity(task) for task in tasks))

    def api(self, path: str) -> dict[str, Any]:
        """What the server says about itself: nothing that we could read."""
        return {}

    def log(self) -> str:
        return ""

    def pin_python(self, cpu: int) -> None:
        raise ServerFailed("only our own server has Python threads to pin")

    def close(self) -> None:
        """Not ours to end."""


class Command(Subject):
    """``command`` in a process of its own in ``namespace`` (None: ours), on core ``cpu`` (None:
    all of them); it ends with us. Both its outputs go to a log, or stdout to ``stdout``."""

    def __init__(
        self,
        command: list[str],
        namespace: int | None,
        cpu: int | None,
        nice: int = 0,
        stdout: int | None = None,
    ) -> None:
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the server

        def prepare() -> None:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if namespace is not None:
                enter_namespace(namespace)
            if cpu is not None:
                os.sched_setaffinity(0, {cpu})
            os.nice(nice)

        try:
            self._process = subprocess.Popen(
                command,
                stdout=self._log if stdout is None else stdout,
                stderr=self._log,
                text=True,
                preexec_fn=prepare,
                cwd=Path(__file__).resolve().parent.parent,
            )
        except OSError as error:
            raise ServerFailed(f"{command[0]} does not start: {error}") from error
        super().__init__(self._process.pid)

    def wait_for(self, url: str, timeout: float = 30.0) -> None:
        """Until somebody listens where ``url`` points to; ServerFailed with the log if nobody
        does within ``timeout`` seconds."""
        parts = urllib.parse.urlsplit(url)
        where = (parts.hostname or "", parts.port or 80)
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(where, 1.0):
                return
            if self._process.poll() is not None:
                raise ServerFailed(f"the server ended: {self.log()}")
            time.sleep(0.1)
        raise ServerFailed(f"nobody listens at {url} after {timeout:g} s: {self.log()}")

    def log(self) -> str:
        self._log.flush()
        self._log.seek(0)
        return self._log.read()[-4000:]

    def alive(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()


class Server(Command):
    """``python -m rtcfwd serve`` in the namespace ``namespace``, on core ``cpu``."""

    def __init__(
        self,
        address: str,
        namespace: int | None,
        cpu: int | None,
        extra: list[str] | None = None,
        nice: int = 0,
    ) -> None:
        command = [
            *COMMAND,
            *("--host", address),
            *("--port", "0", "--udp-port", "0", "--log-level", "warning"),
            *("--rate-limit", "0"),  # all viewers have one address
            *(extra or []),
        ]
        super().__init__(command, namespace, cpu, nice, subprocess.PIPE)
        try:
            self.url, self.udp_port = self._wait(30.0)
        except BaseException:
            self.close()
            raise

    def _wait(self, timeout: float) -> tuple[str, int]:
        assert self._process.stdout is not None
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            ready, _, _ = select.select([self._process.stdout], [], [], 0.5)
            line = self._process.stdout.readline() if ready else None
            found = _READY.search(line or "")
            if found:
                return found[1].rstrip("/"), int(found[2])
            if line == "" or self._process.poll() is not None:
                raise ServerFailed(f"the server ended: {self.log()}")
        raise ServerFailed(f"no ready line within {timeout:g} s: {self.log()}")

    def pin_python(self, cpu: int) -> None:
        """Everything but the forwarder's workers to core ``cpu``."""
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            if not (task / "comm").read_text().startswith("rtcfwd-"):
                os.sched_setaffinity(int(task.name), {cpu})

    def api(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}", timeout=30) as response:
            result: dict[str, Any] = json.load(response)
            return result


def worker_totals(server_api: dict[str, Any]) -> dict[str, int]:
    """The numbers of ``/api/v1/server``'s worker statistics added up over the workers, with
    ``drops`` flattened to ``drops.NAME``; empty if the API has none."""
    workers = server_api.get("workers")
    if not isinstance(workers, list):
        workers = server_api.get("worker_stats")
    totals: dict[str, int] = {}
    for worker in workers if isinstance(workers, list) else []:
        for name, value in worker.items():
            if isinstance(value, bool):
                continue
            if isinstance(value, int):
                totals[name] = totals.get(name, 0) + value
            elif name == "drops" and isinstance(value, dict):
                for reason, count in value.items():
                    key = f"drops.{reason}"
                    totals[key] = totals.get(key, 0) + int(count)
    return totals
