"""What a refusal says to do next."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from git_events_runner.edges.git.remote import Remote
from git_events_runner.edges.git.request import Credential, GitRequest, Reference, Repository
from git_events_runner.errors import GitAuthRequired, GitError, GitProtocolError, GitTlsError
from tests.servers.closing import serving

ANSWER = "HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A server that answers everything as its first line says: 401, and 400 on the path /old.git."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        writer.write(ANSWER.format(status=400 if b"/old" in line else 401).encode())
        await writer.drain()
        writer.close()

    async with serving(answer) as made:
        yield made


@pytest.mark.parametrize(
    ("url", "credential", "error", "told"),
    [
        ("https://127.0.0.1:{}/a.git", None, GitTlsError, "the server speaks no TLS at this port; is it http://"),
        ("http://127.0.0.1:{}/old.git", None, GitProtocolError, "HTTP 400; does it speak https there?"),
        ("http://127.0.0.1:{}/a.git", "ghp_hush", GitAuthRequired, "has no scheme: write `Bearer TOKEN`, for GitHub"),
        ("http://127.0.0.1:{}/a.git", "Bearer hush", GitAuthRequired, "check the source's Secret"),
    ],
)
async def test_hints(remote: Remote, port: int, url: str, credential: str | None, error: type[GitError], told: str):
    """A likely mistake in address or credential is named, and no credential with it."""
    secret = Credential.token(credential) if credential else None
    there = Repository(url=url.format(port), credential=secret)
    with pytest.raises(error) as refused:
        await remote.commit_of(GitRequest(there, Reference("branch", "main")))
    assert told in str(refused.value)
    assert "hush" not in str(refused.value)
