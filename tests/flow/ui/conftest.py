"""The status page of a company, served on loopback."""

from contextlib import asynccontextmanager

import aiohttp
import pytest

from git_events_runner.flow.ui import StatusPage
from git_events_runner.serving import listen, running, serving
from tests.flow.ui.samples import NOW, company


@asynccontextmanager
async def served(made, *, now=lambda: NOW):
    """The address of the page of some objects, on a free port."""
    page = StatusPage(store=made.store, facts=lambda: made.facts, decisions=made.decisions, now=now)
    with listen(0, host="127.0.0.1") as sock:
        async with serving(page.app, sock), running(page=page.run()):
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"


@pytest.fixture
def made():
    return company()


@pytest.fixture
async def get(made):
    """Reads a path of the company's page: status, headers and text."""
    async with served(made) as url, aiohttp.ClientSession() as session:

        async def read(path, method="GET"):
            async with session.request(method, url + path, allow_redirects=False) as response:
                return response.status, response.headers, await response.text()

        yield read
