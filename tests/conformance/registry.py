"""The registry of checks by id: how a check hangs itself in, and how all of them are run.

A check is a function that is given a :class:`~tests.conformance.harness.Server` and returns None
(pass), or raises AssertionError (fail, with the reason) or :class:`NotApplicable`. It stands in a
module ``checks/LETTER_TOPIC.py``, which is found by itself:

    @check("W1")
    def created(server: Server) -> None:
        '''POST of an offer gives 201.'''          # the first line goes into docs/conformance.md

    not_checked("W27", "HTTPS is the deployment's")   # an id that nobody can check, and why

An id may have several checks: it passes if one passes and none fails. ``media=True`` says that a
check sends UDP, and so wants a real data plane behind the server. What can only be seen from inside
is an ordinary test that names its ids: ``@pytest.mark.duty("H7", "H8")``.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .duties import DUTIES
from .harness import NotApplicable, Server

TESTS = Path(__file__).parents[1]

Function = Callable[[Server], None]


@dataclass(frozen=True)
class Check:
    id: str
    function: Function
    media: bool

    @property
    def text(self) -> str:
        """What it checks: the docstring's first sentence or paragraph, on one line."""
        return re.sub(r"\s+", " ", (self.function.__doc__ or "").strip().split("\n\n")[0])


CHECKS: dict[str, list[Check]] = {}
NOT_CHECKED: dict[str, str] = {}


def check(*ids: str, media: bool = False) -> Callable[[Function], Function]:
    """Hang a function in as a check of ``ids``, which are duties of ``duties.py``."""

    def register(function: Function) -> Function:
        assert function.__doc__, f"{function.__name__}: say what it checks"
        for id in ids:
            assert id in DUTIES, f"{id}: no such duty"
            CHECKS.setdefault(id, []).append(Check(id, function, media))
        return function

    return register


def not_checked(id: str, why: str) -> None:
    """No black-box check can be made of ``id``; ``why`` is a line of docs/conformance.md. A check
    or an inside test of the same id goes before it."""
    assert id in DUTIES, f"{id}: no such duty"
    NOT_CHECKED[id] = why


@cache
def load() -> None:
    """Import every module of ``checks/``."""
    from . import checks

    for module in sorted(m.name for m in pkgutil.iter_modules(checks.__path__)):
        importlib.import_module(f"{checks.__name__}.{module}")


@cache
def inside() -> dict[str, list[str]]:
    """The tests that name an id with ``pytest.mark.duty``: id -> ["path::function"]."""
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        text = path.read_text()
        if "mark.duty(" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func).endswith("mark.duty"):
                    where = f"{path.relative_to(TESTS.parent)}::{node.name}"
                    for argument in mark.args:
                        found.setdefault(ast.literal_eval(argument), []).append(where)
    return found


def run(
    url: str, options: dict[str, str] | None = None, *, media: bool = True, only: str = ""
) -> Iterator[dict[str, str]]:
    """Run the checks of every duty; one result each: {"id", "status", "why"}. ``options``: see
    :meth:`Server.given`; ``media=False`` leaves out what sends UDP; ``only``: ids parted by
    commas, or letters."""
    load()
    wanted = [item for item in only.split(",") if item]
    for id in DUTIES:
        if wanted and id not in wanted and id.rstrip("0123456789") not in wanted:
            continue
        status, why = _judge(id, url, options or {}, media)
        yield {"id": id, "status": status, "why": why}


def _judge(id: str, url: str, options: dict[str, str], media: bool) -> tuple[str, str]:
    results = [
        _try(entry, url, options) for entry in CHECKS.get(id, ()) if media or not entry.media
    ]
    for status in ("fail", "pass", "not applicable"):
        told = [why for found, why in results if found == status]
        if told:
            return status, "; ".join(told)
    if id in CHECKS:
        return "not applicable", "sends media, which was left out"
    if id in inside():
        return "not applicable", "seen only from inside: " + ", ".join(inside()[id][:2])
    return "not applicable", NOT_CHECKED.get(id, "not checked yet")


def _try(entry: Check, url: str, options: dict[str, str]) -> tuple[str, str]:
    server = Server(url, options)
    started = time.monotonic()
    try:
        entry.function(server)
    except NotApplicable as reason:
        return "not applicable", str(reason)
    except AssertionError as reason:
        return "fail", f"{entry.text} {str(reason) or 'assertion failed'}"
    except Exception as reason:
        return "fail", f"{entry.text} {type(reason).__name__}: {reason}"
    finally:
        server.clean()
        DURATIONS[f"{entry.id} {entry.function.__name__}"] = time.monotonic() - started
    return "pass", entry.text


DURATIONS: dict[str, float] = {}
"""Seconds that each check took in this process, for whoever looks for the slow ones."""
