"""The conformance checks against a real server in this process."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from rtcfwd.app import Server
from rtcfwd.config import Config
from rtcfwd.forwarder.api import Forwarder
from rtcfwd.forwarder.fake import FakeForwarder
from tests.conformance import registry
from tests.conformance.duties import DUTIES

CONFIG = Config(host="127.0.0.1", port=0, udp_port=0, workers=1)


def fake(config: Config) -> Forwarder:
    return FakeForwarder()


@pytest.mark.parametrize("plane", ["compiled", "fake"])
async def test_all_checks(plane: str) -> None:
    server = Server(CONFIG, make_forwarder=fake if plane == "fake" else None)
    await server.start()
    try:
        url = f"http://127.0.0.1:{server.http_port}/"
        media = plane == "compiled"
        results = await asyncio.to_thread(lambda: list(registry.run(url, media=media)))
    finally:
        await server.stop()
    failed = [result for result in results if result["status"] == "fail"]
    assert not failed, failed
    assert not server.internal_errors
    passed = {result["id"] for result in results if result["status"] == "pass"}
    assert len(passed) >= (90 if media else 44), passed


async def test_command_prints_json() -> None:
    server = Server(CONFIG, make_forwarder=fake)
    await server.start()
    try:
        command = [sys.executable, "-m", "tests.conformance", "--http", "--json"]
        done = await asyncio.to_thread(
            subprocess.run,
            [*command, f"http://127.0.0.1:{server.http_port}/"],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            check=False,
        )
    finally:
        await server.stop()
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(done.stdout)["results"]
    assert {"id", "status", "why"} == set(results[0])
    assert [result["id"] for result in results] == list(DUTIES)


def test_tests_name_duties_that_exist() -> None:
    assert set(registry.inside()) <= set(DUTIES)
