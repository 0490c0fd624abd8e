"""The rules of the house that a reader of one file cannot see: which folder may include which, and
how long a file or a function may grow, how many verbs there are to learn."""

from __future__ import annotations

import ast
import re
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CSRC = ROOT / "csrc"
C_FILES = sorted(CSRC.glob("*/*.[ch]"))
OWN = [
    p
    for folder in ("csrc", "rtcfwd", "tests", "benchmarks")
    for p in sorted((ROOT / folder).rglob("*"))
    if p.suffix in {".c", ".h", ".py", ".pyx", ".pxd", ".pxi", ".js", ".css", ".html"}
    and not {"build", "__pycache__"} & set(p.parts)
    and p.name != "_forwarder.c"
]

# base <- wire, srtp, net <- model <- path, feedback <- worker; the boundary header is for all.
LEVEL = {
    "base": 0,
    "wire": 1,
    "srtp": 1,
    "net": 1,
    "model": 2,
    "path": 3,
    "feedback": 3,
    "worker": 4,
}


def includes(path: Path) -> list[str]:
    return re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(), re.MULTILINE)


def test_every_folder_has_a_level() -> None:
    assert {p.parent.name for p in C_FILES} == set(LEVEL) | {"include"}


@pytest.mark.parametrize("path", C_FILES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_dependency_direction(path: Path) -> None:
    """A file includes its own folder's headers and those of its level or below."""
    own = path.parent.name
    for name in includes(path):
        if name == "rtcfwd.h":
            continue
        folder = name.split("/")[0]
        assert folder in LEVEL, f"{name}: includes are written from csrc/"
        assert (CSRC / name).exists(), name
        assert LEVEL[folder] <= LEVEL[own], f"{own} may not know {folder}"


def test_the_boundary_stands_alone() -> None:
    assert includes(CSRC / "include" / "rtcfwd.h") == []


def test_parsers_are_pure() -> None:
    """wire/ holds functions over bytes: no clock, no memory, no system call."""
    allowed = {"stddef.h", "stdint.h", "string.h"}
    for path in (CSRC / "wire").glob("*.[ch]"):
        system = set(re.findall(r"#include <([^>]+)>", path.read_text()))
        assert system <= allowed, path.name


def test_no_python_in_csrc() -> None:
    for path in C_FILES:
        assert "Python.h" not in path.read_text(), path.name


def test_one_file_crosses_to_cython() -> None:
    pxd = (ROOT / "rtcfwd" / "forwarder" / "_forwarder.pxd").read_text()
    headers = set(re.findall(r'cdef extern from "([^"]+)"', pxd))
    assert headers == {"rtcfwd.h"}


@pytest.mark.parametrize("path", OWN, ids=lambda p: str(p.relative_to(ROOT)))
def test_length_of_files(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 600


C_SOURCES = [p for p in OWN if p.suffix == ".c"]
PYTHON = [p for p in OWN if p.suffix == ".py"]
LONGEST = 80


@pytest.mark.parametrize("path", C_SOURCES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_length_of_functions(path: Path) -> None:
    """A function's body ends at the first brace in column 0 behind its head (clang-format)."""
    lines = path.read_text().splitlines()
    marks = [i for i, line in enumerate(lines) if line == "}" or re.match(r"^\S.*\{$", line)]
    for start, end in pairwise(marks):
        if lines[end] == "}":
            assert end - start + 1 <= LONGEST, f"{path.name}:{start + 1}"


@pytest.mark.parametrize("path", PYTHON, ids=lambda p: str(p.relative_to(ROOT)))
def test_length_of_python_functions(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= LONGEST, f"{path.name}:{node.lineno} {node.name}"


def test_verbs_of_the_makefile() -> None:
    """At most fifteen to learn, and `make help` says what each is for."""
    text = (ROOT / "Makefile").read_text()
    verbs = re.findall(r"^([a-z]+):.*?(## .+)?$", text, re.MULTILINE)
    assert len(verbs) <= 15
    assert all(told for _, told in verbs), verbs
