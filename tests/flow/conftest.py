"""What flow tests stand on: the in-process API server, started in the test's loop."""

from collections.abc import AsyncIterator

import pytest

from git_events_runner.local.apiserver.server import ApiServer, serving


@pytest.fixture
async def api() -> AsyncIterator[ApiServer]:
    """A started API server with our CRDs: `.url`, `.token`, `.create(obj)`, `.intercept`, `.forget_history()`."""
    async with serving() as server:
        yield server
