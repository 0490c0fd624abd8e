"""For all tests: the event loop may not be blocked, and nothing is left running.

blockbuster raises when code of ours makes a blocking call (file, socket, sleep) on the thread of a
running event loop. asyncio tests need no mark (asyncio_mode = "auto").
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx


@pytest.fixture(autouse=True)
def blockbuster(request: pytest.FixtureRequest) -> Iterator[BlockBuster | None]:
    """Active for asyncio tests, and for calls that rtcfwd makes, not the test itself."""
    if request.node.get_closest_marker("asyncio") is None:
        yield None
        return
    with blockbuster_ctx("rtcfwd") as detector:
        yield detector
