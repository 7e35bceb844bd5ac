"""What each chat system is sent: by apprise's plugin, through our client alone, as plain text."""

import json
import socket
from urllib.parse import unquote_plus, urlsplit

import pytest

from git_events_runner.edges.chat.client import ChatClient
from git_events_runner.edges.chat.confinement import Answer
from git_events_runner.edges.chat.services import REFUSED_PARAMETERS, SCHEMES, SERVICES
from git_events_runner.errors import SecretUnusable
from git_events_runner.rules.notifications.plain_text import plain
from tests.edges.chat.addresses import EXAMPLES

# What each of them needs in the answers, in one.
ACCEPTED = json.dumps(
    {
        "ok": True,
        "access_token": "t",
        "user_id": "@u:x",
        "home_server": "x",
        "room_id": "!r:x",
        "joined_rooms": ["!r:x"],
        "status": "success",
        "result": "success",
        "errcode": 0,
        "requestId": "r",
    }
).encode()
HOSTILE = plain("<!channel> @everyone <b>b</b> [x](https://evil.example) **s**", 200)


async def sent(address, *, body="line 1\nline 2", status=200, answer=ACCEPTED, level="failure"):
    """The requests of a message, and whether it was accepted."""
    got = []

    async def exchange(method, url, content, headers):
        got.append((method, url, content.decode(), dict(headers)))
        text = b"ok" if "hooks.slack.com" in url else b"" if status == 204 else answer
        return Answer(status=status, retry_after_s=None, body=text)

    found = await ChatClient().deliver(
        address, title="team/build: run 7 failed", body=body, level=level, exchange=exchange, owner="n"
    )
    return found, got


@pytest.fixture
def no_network(monkeypatch):
    """Names that were resolved and addresses that were connected to, which none may be."""
    used = []
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: used.append(address))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **_: used.append(args) or [])
    return used


def test_every_service_has_an_example():
    """One of its schemes, and no scheme is that of two services."""
    for service in SERVICES:
        assert len(set(service.schemes) & set(EXAMPLES)) == 1, service.name
    assert sum(len(service.schemes) for service in SERVICES) == len(SCHEMES)


@pytest.mark.parametrize("scheme", EXAMPLES)
async def test_a_message_is_sent_through_our_client_to_the_host_of_its_address(scheme, no_network):
    """Title and lines are in the last request but Matrix's logout; nothing else is connected to."""
    address, host = EXAMPLES[scheme]
    found, got = await sent(address, status=202 if scheme in {"opsgenie", "squadcast"} else 200)
    assert found.accepted
    assert {urlsplit(url).hostname for _, url, *_ in got} == {host}
    texts = [unquote_plus(content) for *_, content, _ in got]
    assert any("line 1" in text and "team/build" in text for text in texts)
    assert no_network == []


@pytest.mark.parametrize("scheme", EXAMPLES)
async def test_text_that_others_chose_arrives_as_text(scheme):
    """No user is mentioned, nothing is markup or a link, in whatever form the service is sent."""
    status = 202 if scheme in {"opsgenie", "squadcast"} else 200
    _, got = await sent(EXAMPLES[scheme][0], body=HOSTILE, status=status)
    text = "".join(_strings(content) for *_, content, _ in got)
    assert "channel" in text
    for active in ("<!channel", "@everyone", "<b>b", "[x](", "**s"):
        assert active not in text


@pytest.mark.parametrize("scheme", EXAMPLES)
@pytest.mark.parametrize(
    "parameter", ["template=/etc/passwd", "%74emplate=x", "verify=no", "redirect=yes", "a=b;retry=9"]
)
async def test_parameters_that_read_files_or_that_the_notifier_decides_are_refused(scheme, parameter):
    """Before anything is sent; however they are written."""
    address = EXAMPLES[scheme][0]
    address, hash_, target = address.partition("#")
    with pytest.raises(SecretUnusable, match="leave out the parameter") as error:
        await sent(f"{address}{'&' if '?' in address else '?'}{parameter}" + (f"&to={target}" if hash_ else ""))
    assert address not in str(error.value)


@pytest.mark.parametrize("name", REFUSED_PARAMETERS)
async def test_each_refusal_says_why(name):
    """In the error that becomes the condition."""
    with pytest.raises(SecretUnusable, match=f"parameter {name}: "):
        await sent(f"{EXAMPLES['discord'][0]}?{name}=yes")


@pytest.mark.parametrize("address", ["slack://canary", "discord://", "tgram://canary/1", "matrixs://"])
async def test_an_address_that_is_not_complete_is_an_error_that_does_not_show_it(address):
    """It names the service and the form of its addresses."""
    with pytest.raises(SecretUnusable, match=r"the address for .* cannot be used") as error:
        await sent(address)
    assert "canary" not in str(error.value)


@pytest.mark.parametrize("status", [302, 401, 403, 404, 429, 500, 503])
@pytest.mark.parametrize("scheme", ["slack", "discord", "mmosts", "ntfys", "pagerduty", "workflows"])
async def test_a_message_that_is_not_accepted_has_the_status_of_its_answer(scheme, status):
    """One request: plugins do not try again by themselves."""
    found, got = await sent(EXAMPLES[scheme][0], status=status)
    assert not found.accepted
    assert found.answer.status == status
    assert len(got) == 1


async def test_a_refusal_inside_a_success_is_no_success():
    """Slack's API answers 200 with `ok: false`."""
    found, _ = await sent("slack://xoxb-1234-1234-4ddbc191d40ee098cbaae6f3523ada2d/#builds", answer=b'{"ok": false}')
    assert not found.accepted


def _strings(content):
    """All texts of a request's body."""
    try:
        return "\n".join(_values(json.loads(content)))
    except ValueError:
        return unquote_plus(content)


def _values(found):
    if isinstance(found, dict):
        found = list(found.values())
    return [text for one in found for text in _values(one)] if isinstance(found, list) else [str(found)]
