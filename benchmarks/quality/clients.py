"""Viewers that are no Chromium, with as much of :class:`benchmarks.quality.lab.Tab` as the start's
figures need.

Firefox (Debian's, VP8: it has no H264 without a download) is driven on the server's own page, with
the same probe; its pictures are read where they are shown (firefox.js). GStreamer's webrtcbin
(H264) is a process of Debian's Python; its pictures are read where the decoder's sink gets them.
Moments are ``time.monotonic()`` seconds.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

from ..server import Server
from .firefox import FIREFOX, Firefox
from .lab import PROBE, Tab

SYSTEM_PYTHON = "/usr/bin/python3"  # the one that has GStreamer's bindings
GSTREAMER = Path(__file__).resolve().parents[2] / "tests" / "interop" / "gst_webrtc.py"
_BINDINGS = "import gi; gi.require_version('GstWebRTC', '1.0'); from gi.repository import GstWebRTC"


def why_missing(client: str) -> str | None:
    """What to install for a client that cannot run here; None: it can."""
    if client.startswith("Firefox") and not Path(FIREFOX).exists():
        return f"no {FIREFOX}: install Debian's firefox-esr"
    if client == "GStreamer":
        try:
            subprocess.run([SYSTEM_PYTHON, "-c", _BINDINGS], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            return f"{SYSTEM_PYTHON} has no GstWebRTC: install gir1.2-gst-plugins-bad-1.0"
    return None


class FirefoxTabs(contextlib.ExitStack):
    """One Firefox with a fresh profile; ended with the stack."""

    def __init__(self) -> None:
        super().__init__()
        try:
            firefox = Firefox(Path(self.enter_context(tempfile.TemporaryDirectory())))
            self.callback(firefox.close)
            self._context = firefox.new_context()
            for script in (PROBE.with_name("firefox.js"), PROBE):
                self._context.add_init_script(script.read_text())
        except BaseException:
            self.close()
            raise

    def tab(self, server: Server) -> Tab:
        page = self._context.new_page()
        page.goto(f"{server.url}/")
        return Tab(page)


class GstViewer:
    """A webrtcbin that watches until it is closed."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._posted = 0.0
        self._pictures: list[tuple[float, int, int]] = []
        self._process: subprocess.Popen[str] | None = None

    def watch(self, name: str) -> None:
        self._process = subprocess.Popen(
            [SYSTEM_PYTHON, str(GSTREAMER), "play", f"{self._server.url}/whep/{name}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            said = json.loads(line)
            if said["event"] == "media":
                self._posted = said["posted"]
                self._pictures += [(at, n, said["width"]) for at, n in said["pictures"] if n >= 0]

    def posted(self) -> float:
        return self._posted

    def frames(self) -> list[tuple[float, int, int]]:
        """(moment, number, width) of each picture that came out of the decoder."""
        return list(self._pictures)

    def stats(self) -> list[dict[str, Any]]:
        return []  # webrtcbin counts no freezes and no dropped pictures

    def close(self) -> None:
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(5)
