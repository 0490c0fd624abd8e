"""``python -m tests.conformance URL [--json]``: run all checks against a server.

The server is given by its base URL; streams are ``URL/whip/NAME`` and ``URL/whep/NAME``. Exit
status 1 when a check fails. ``--doc`` writes docs/conformance.md anew.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter

from . import doc, registry


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("url", nargs="?", help="base URL, such as http://127.0.0.1:8080/")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--only", default="", metavar="IDS", help="ids or letters: W1,S,D")
    parser.add_argument("--http", action="store_true", help="leave out what sends UDP or media")
    parser.add_argument(
        "--with",
        action="append",
        default=[],
        dest="options",
        metavar="NAME=VALUE",
        help="what some checks need to be told, such as token=abc; they say so",
    )
    parser.add_argument("--doc", action="store_true", help="write docs/conformance.md and end")
    arguments = parser.parse_args()
    if arguments.doc:
        doc.PATH.write_text(doc.text())
        return 0
    if arguments.url is None or not all("=" in option for option in arguments.options):
        parser.error("give the server's URL, and NAME=VALUE with each --with")
    options = dict(option.split("=", 1) for option in arguments.options)
    found = registry.run(arguments.url, options, media=not arguments.http, only=arguments.only)
    results = []
    for result in found:
        results.append(result)
        if not arguments.json:
            print(f"{result['id']:5} {result['status']:15} {result['why']}", flush=True)
    if arguments.json:
        print(json.dumps({"results": results}))
    else:
        counts = Counter(result["status"] for result in results)
        print(", ".join(f"{count} {status}" for status, count in counts.items()))
    return int(any(result["status"] == "fail" for result in results))


if __name__ == "__main__":
    sys.exit(main())
