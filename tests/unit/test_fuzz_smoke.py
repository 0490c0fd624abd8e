"""Every fuzz target for two seconds from its seeds; `make fuzz` runs them longer.

The seed of libFuzzer's own dice is fixed, but how far two seconds reach is not: a failure here is a
fault that was there before, and its input lies where the message says.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
FUZZ = TESTS / "fuzz"
TARGETS = sorted(p.stem for p in FUZZ.glob("fuzz_*.c"))

pytestmark = pytest.mark.skipif(shutil.which("clang") is None, reason="libFuzzer needs clang")


def run(*command: str) -> None:
    done = subprocess.run(command, cwd=FUZZ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


@pytest.mark.parametrize("name", TARGETS)
def test_two_seconds(name: str, tmp_path: Path) -> None:
    run("make", "-s", "-j2", f"build/{name}")
    found = tmp_path / "corpus"
    found.mkdir()
    run(
        *(f"build/{name}", "-seed=1", "-max_total_time=2", "-max_len=4096", "-timeout=10"),
        *(f"-artifact_prefix={FUZZ}/build/crash-{name}-", str(found)),
        str(TESTS / "vectors" / "wire" / name.removeprefix("fuzz_")),
    )


def test_sanitizers_are_linked_in() -> None:
    """A target without ASan or UBSan would find little, and silently."""
    name = TARGETS[0]
    run("make", "-s", f"build/{name}")
    symbols = subprocess.run(
        ["nm", str(FUZZ / "build" / name)], capture_output=True, text=True, check=True
    ).stdout
    assert "__asan_init" in symbols
    assert "__ubsan_handle" in symbols
