"""What the interop tests share: the real server as a process, a real Chromium, and figures kept.

`server`   starts `python -m rtcfwd serve` on free ports, waits for its ready line, and at the end
           stops it by SIGTERM: it must leave with status 0 and without a traceback in its log. A
           module may set `WORKERS` (default 2) and `HOST` (default 127.0.0.1).
`chromium` is one headless browser for the whole run; `pages` opens tabs of the server's own page in
           a fresh profile and samples their getStats five times a second (see stats.py).
`record`   writes a test's figures to build/interop/NAME.json: times to the first frame, bitrates.

Nothing here sleeps for a fixed time: `wait_until` polls a condition and fails at its deadline.
"""

from __future__ import annotations

import contextlib
import gc
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from benchmarks.quality.firefox import Firefox
from benchmarks.quality.lab import CHROMIUM, CHROMIUM_FLAGS
from tests.interop.interop_tools import Pages, Server, ffmpeg_command, run_group, serving

RESULTS = Path(__file__).resolve().parents[2] / "build" / "interop"


@pytest.fixture(scope="session", autouse=True)
def no_long_collections() -> None:
    """The lossy links are threads of this process. What thousands of tests before have left makes a
    full garbage collection long, which the clients behind a link take for a queue in it."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.interop)


@pytest.fixture(scope="module")
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("server") / "server.log"
    workers = getattr(request.module, "WORKERS", 2)
    host = getattr(request.module, "HOST", "127.0.0.1")
    with serving(log, workers=workers, host=host) as running:
        yield running


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def pages(chromium: Browser, server: Server) -> Iterator[Pages]:
    context = chromium.new_context()
    opened = Pages(context, server)
    yield opened
    context.close()


@pytest.fixture(scope="module")
def firefox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firefox]:
    browser = Firefox(tmp_path_factory.mktemp("firefox"))
    yield browser
    browser.close()


@pytest.fixture
def firefox_pages(firefox: Firefox, server: Server) -> Iterator[Pages]:
    context = firefox.new_context()
    opened = Pages(context, server)
    yield opened
    context.close()


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Callable[..., None]:
    def keep(**figures: Any) -> None:
        RESULTS.mkdir(parents=True, exist_ok=True)
        name = request.node.name.replace("[", "-").replace("]", "")
        (RESULTS / f"{name}.json").write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")
        print(name, json.dumps(figures, sort_keys=True))

    return keep


@pytest.fixture
def processes() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a client as a process; whatever still runs at the end is killed by its pid."""
    with contextlib.ExitStack() as stack:

        def start(command: list[str], **options: Any) -> subprocess.Popen[str]:
            return stack.enter_context(run_group(command, **options))

        yield start


@pytest.fixture(scope="session")
def ffmpeg() -> str:
    return ffmpeg_command()


@pytest.fixture(scope="session")
def clip(ffmpeg: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """A real H264 (x264, baseline, 640x360 at 25/s, 800 kbit/s) + Opus file of 10 s, by GOP length
    in frames. Its pictures carry a running counter, so every frame differs from every other."""
    made: dict[int, Path] = {}

    def make(gop: int) -> Path:
        if gop not in made:
            path = tmp_path_factory.mktemp("clip") / f"gop{gop}.mp4"
            sources = "-f lavfi -i testsrc2=s=640x360:r=25:d=10"
            sources += " -f lavfi -i sine=frequency=440:sample_rate=48000:duration=10"
            video = "-c:v libx264 -preset veryfast -profile:v baseline -bf 0 -sc_threshold 0"
            video += f" -g {gop} -pix_fmt yuv420p -b:v 800k -maxrate 800k -bufsize 800k"
            audio = "-c:a libopus -ar 48000 -ac 2 -b:a 64k"
            command = f"{ffmpeg} -v error {sources} {video} {audio}".split()
            subprocess.run([*command, str(path)], check=True, stdin=subprocess.DEVNULL)
            made[gop] = path
        return made[gop]

    return make
