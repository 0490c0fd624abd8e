"""The wheel: built from the tree, installed with its dependencies into a second, fresh virtual
environment, and used there from another directory, as a stranger would.
"""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import pytest

from rtcfwd import __version__

ROOT = Path(__file__).parents[2]

# Whoever runs the tests may have these set for the tree; the wheel has to do without.
CLEAN = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, env=CLEAN, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    build = ["--no-deps", "--no-build-isolation", "-w", str(out), str(ROOT)]
    run(sys.executable, "-m", "pip", "wheel", "-q", *build, cwd=out)
    [found] = out.glob("rtcfwd-*.whl")
    return found


@pytest.mark.timeout(300)
def test_wheel_holds_what_runs_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert any(n.startswith("rtcfwd/forwarder/_forwarder.") and n.endswith(".so") for n in names)
    for needed in ("rtcfwd/py.typed", "rtcfwd/forwarder/_forwarder.pyi", "rtcfwd/web/index.html"):
        assert needed in names
    web = {f"rtcfwd/web/{p.name}" for p in (ROOT / "rtcfwd/web").iterdir() if p.is_file()}
    assert web <= set(names)
    tops = {n.split("/")[0] for n in names}
    assert tops == {"rtcfwd", f"rtcfwd-{__version__}.dist-info"}


@pytest.mark.timeout(600)
def test_wheel_serves_from_a_fresh_environment(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", "fresh", cwd=tmp_path)
    bin_dir = tmp_path / "fresh" / "bin"
    run(bin_dir / "python", "-m", "pip", "install", "-q", wheel, cwd=tmp_path)
    assert __version__ in run(bin_dir / "rtcfwd", "--version", cwd=tmp_path)

    command = [bin_dir / "rtcfwd", "serve", "--port", "0", "--udp-port", "0"]
    with subprocess.Popen(command, cwd=tmp_path, env=CLEAN, stdout=-1, text=True) as server:
        try:
            assert server.stdout is not None
            ready = next((line for line in server.stdout if line.startswith("rtcfwd: ready ")), "")
            url = ready.split()[2].replace("0.0.0.0", "127.0.0.1")
            with urllib.request.urlopen(url, timeout=20) as page:
                assert page.status == 200
        finally:
            server.terminate()
    assert server.returncode == 0
