"""docs/clients.md says what the tests run, and every client is run, replayed or says why not."""

from __future__ import annotations

import json
import tomllib

from tests.interop import clients

ROOT = clients.TESTS.parent


def test_the_document_is_what_the_list_and_the_tests_make_it() -> None:
    """`python -m tests.interop.clients --doc` makes it anew."""
    assert clients.PATH.read_text() == clients.text()


def test_every_client_that_runs_has_a_test_and_every_mark_a_client() -> None:
    run = {client.name for client in clients.CLIENTS if client.state in ("runs", "replayed")}
    assert set(clients.tests_of()) == run
    for client in clients.CLIENTS:
        assert client.state in ("runs", "replayed") or client.state.startswith("not run: ")
        assert client.name not in run or (client.seen and client.recipe and client.version)


def test_versions_are_those_that_are_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pinned = project["project"]["optional-dependencies"]["dev"]
    browser = ROOT / "tests" / "interop" / "browser"
    packages = json.loads((browser / "package.json").read_text())["dependencies"]
    locked = json.loads((browser / "package-lock.json").read_text())["packages"]
    for name, version in packages.items():
        assert locked[f"node_modules/{name}"]["version"] == version
    for client in clients.CLIENTS:
        if "==" in client.pin:
            assert any(line.startswith(client.pin) for line in pinned), client.pin
            assert client.pin.split("==")[1] in client.version
        elif client.pin:
            assert packages[client.pin] in client.version.split()
    named = {client.pin for client in clients.CLIENTS}
    assert set(packages) - {"esbuild"} <= named
