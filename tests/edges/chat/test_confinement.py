"""No request leaves through `requests`: what apprise sends is handed to our client, and nothing else is sent.

If one of these fails after an upgrade: `requests.post` or a plugin of apprise no longer creates
`requests.sessions.Session`. Find what it creates, and let `edges/chat/confinement.py` take that place too.
"""

import asyncio
import socket

import pytest
import requests

from git_events_runner.edges.chat.client import ChatClient
from git_events_runner.edges.chat.confinement import Answer, Calls, ConfinedSession, confine, sending
from git_events_runner.errors import GitTimeout

DISCORD = "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js"


@pytest.fixture
def listener():
    """A server that accepts nothing: a connection to it waits in its backlog."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def is_called(server):
    try:
        server.accept()[0].close()
    except BlockingIOError:
        return False
    return True


@pytest.mark.parametrize("send", [requests.post, requests.get, requests.put, lambda url: requests.Session().get(url)])
def test_requests_opens_no_connection(listener, send):
    """Outside a message, every way to send fails."""
    confine()
    with pytest.raises(requests.ConnectionError, match="only messages of Notifiers"):
        send(f"http://127.0.0.1:{listener.getsockname()[1]}/")
    assert not is_called(listener)


def carried_out(answer, call):
    """The requests that a call in a thread hands over, and what it returns."""
    got = []

    async def exchange(method, url, body, headers):
        got.append((method, url, body, dict(headers)))
        return answer

    async def run():
        calls = Calls(loop=asyncio.get_running_loop(), exchange=exchange)
        with sending(calls):
            return await asyncio.to_thread(call)

    confine()
    return asyncio.run(run()), got


def test_a_redirect_is_the_answer():
    """It is not followed, whatever the caller wants."""
    answer = Answer(status=302, retry_after_s=None, body=b"")
    response, got = carried_out(answer, lambda: requests.get("https://chat.example/", allow_redirects=True, timeout=1))
    assert response.status_code == 302
    assert len(got) == 1


def test_no_credential_of_the_environment_is_sent(tmp_path, monkeypatch):
    """No .netrc, no proxy."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine chat.example login me password canary\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    answer = Answer(status=200, retry_after_s=None, body=b'{"a": 1}')
    response, [(method, url, body, headers)] = carried_out(
        answer, lambda: requests.post("https://chat.example/x?y=1", json={"k": "v"}, timeout=1)
    )
    assert (method, url, body) == ("POST", "https://chat.example/x?y=1", b'{"k": "v"}')
    assert set(headers) == {"Accept", "Content-Type"}
    assert response.json() == {"a": 1}


def test_the_plugins_use_the_confined_session():
    """Also those that derive from it."""
    confine()
    assert issubclass(requests.Session, ConfinedSession)
    assert isinstance(requests.sessions.session(), ConfinedSession)


async def test_an_error_of_our_client_is_kept():
    """The verdict is decided by it, not by what apprise makes of it."""

    async def exchange(*_):
        raise GitTimeout("https://discord.com: no complete answer within 30 s")

    found = await ChatClient().deliver(DISCORD, title="t", body="b", level="info", exchange=exchange, owner="n")
    assert not found.accepted
    assert isinstance(found.error, GitTimeout)


async def test_a_cancelled_message_sends_nothing_more():
    """Matrix needs several requests: after the first one is cancelled, none follows, and its thread ends."""
    got, begun = [], asyncio.Event()

    async def exchange(_, url, *__):
        got.append(url)
        begun.set()
        await asyncio.Event().wait()

    async def accept(*_):
        return Answer(status=200, retry_after_s=None, body=b"")

    client, address = ChatClient(), "matrixs://user:pass@matrix.example/#builds"
    task = asyncio.ensure_future(
        client.deliver(address, title="t", body="b", level="info", exchange=exchange, owner="n")
    )
    await begun.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await client.deliver(DISCORD, title="t", body="b", level="info", exchange=accept, owner="n")  # the thread is free
    assert len(got) == 1
