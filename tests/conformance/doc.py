"""docs/conformance.md, made from the duties, the checks and the tests that name an id."""

from __future__ import annotations

from pathlib import Path

from . import registry
from .duties import DUTIES, LETTERS

PATH = Path(__file__).parents[2] / "docs" / "conformance.md"

_HEAD = """# Conformance

Made by `python -m tests.conformance --doc` from the tests; do not edit it by hand.

Every duty of a WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep) server has an id, and each id a
check that any server can be put to:

    python -m tests.conformance http://127.0.0.1:8080/ [--json] [--only D,S11] [--http]

(`--with NAME=VALUE` tells a check what it needs to know, such as `--with token=abc`; it says so.)

Each result is `pass`, `fail` or `not applicable`, with its reason. *On the wire*: what that command
checks, as a client that knows nothing of the server's inside. *Inside*: tests of this project that
name the id. Where there is neither, the line says why not.
"""


def letter(id: str) -> str:
    """The group that an id belongs to."""
    return id[0] if id[0] in LETTERS else "W"


def text() -> str:
    registry.load()
    lines = [_HEAD]
    for initial, title in LETTERS.items():
        lines += [f"## {initial}: {title}", ""]
        lines += ["| id | | duty | on the wire | inside |", "|---|---|---|---|---|"]
        lines += [_row(id) for id in DUTIES if letter(id) == initial]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _row(id: str) -> str:
    duty = DUTIES[id]
    checks = " ".join(entry.text for entry in registry.CHECKS.get(id, ()))
    inside = "<br>".join(
        f"[{name.partition('::')[2]}](../{name.partition('::')[0]})"
        for name in registry.inside().get(id, ())
    )
    if not checks and not inside:
        checks = "not checked: " + registry.NOT_CHECKED.get(id, "not yet")
    said = ", ".join(part for part in (duty.level, duty.where) if part)
    return "| " + " | ".join(_cell(c) for c in (id, said, duty.text, checks, inside)) + " |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
