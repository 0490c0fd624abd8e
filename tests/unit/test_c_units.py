"""The C unit tests, built with sanitizers and run; each binary is one test.

ASan and UBSan for all of them, TSan for the threaded ones. A build that lost its sanitizers on the
way fails ``test_sanitizers_are_linked_in``.
"""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import pytest

C_TESTS = Path(__file__).parent.parent / "c"
PLAIN = sorted(p.stem for p in C_TESTS.glob("test_*.c") if not p.stem.startswith("test_threads_"))
THREADED = sorted(p.stem for p in C_TESTS.glob("test_threads_*.c"))


def make(*targets: str) -> None:
    done = subprocess.run(
        ["make", "-s", f"-j{os.cpu_count() or 1}", "-C", str(C_TESTS), *targets],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def run(*command: str) -> None:
    done = subprocess.run(command, cwd=C_TESTS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip().endswith("checks")


@pytest.mark.parametrize("name", PLAIN)
def test_unit_under_asan_and_ubsan(name: str) -> None:
    make(f"build/asan/{name}")
    run(f"build/asan/{name}")


@pytest.mark.parametrize("name", THREADED)
def test_threads_under_tsan(name: str) -> None:
    make(f"build/tsan/{name}")
    # TSan's shadow memory wants a predictable address space.
    run(
        *("setarch", platform.machine(), "-R", "env", "TSAN_OPTIONS=halt_on_error=1"),
        f"build/tsan/{name}",
    )


def test_sanitizers_are_linked_in() -> None:
    make("proof")
