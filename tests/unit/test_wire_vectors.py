"""The packets in tests/vectors/wire are what their maker writes, and every fuzz target takes them.

tests/c/test_vectors.c judges each packet by its name; here the files are held against the script
that writes them.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

TESTS = Path(__file__).parent.parent
WIRE = TESTS / "vectors" / "wire"


def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("wire_vectors", WIRE / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_files_are_what_the_maker_writes() -> None:
    for folder, packets in maker().FOLDERS.items():
        there = {p.stem: p.read_bytes() for p in (WIRE / folder).glob("*.bin")}
        extra = set(there) - set(packets)
        assert {n: d for n, d in there.items() if n not in extra} == packets
        assert all(name.startswith("found-") for name in extra), extra


@pytest.mark.skipif(shutil.which("clang") is None, reason="libFuzzer needs clang")
def test_every_fuzz_target_takes_its_seeds() -> None:
    done = subprocess.run(
        ["make", "-s", "-j2", "-C", str(TESTS / "fuzz"), "quick"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
