"""``python -m tests.conformance URL [--json]``: run all checks against a server.

The server is given by its base URL; streams are ``URL/whip/NAME`` and ``URL/whep/NAME``. Exit
status 1 when a check fails.
"""

from __future__ import annotations

import argparse
import json
import sys

from . import whep, whip  # noqa: F401 - they register their checks
from .harness import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("url", help="base URL of the server, such as http://127.0.0.1:8080/")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    results = list(run(arguments.url))
    if arguments.json:
        print(json.dumps({"results": results}))
    else:
        for result in results:
            print(f"{result['id']:5} {result['status']:15} {result['why']}")
    return int(any(result["status"] == "fail" for result in results))


if __name__ == "__main__":
    sys.exit(main())
