"""Messages of each type to a real receiver: what it gets, what its answers mean, and which addresses get nothing."""

import asyncio
import json
import subprocess
import sys
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from git_events_runner.errors import ApiUnavailable
from git_events_runner.rules.notifications.chat import ChatMessage
from git_events_runner.rules.notifications.request import Accepted, Refused, Retry
from git_events_runner.settings.runtime import GitConfig
from git_events_runner.wiring.chat_messages import ChatMessages
from git_events_runner.wiring.messenger import Messenger
from git_events_runner.wiring.worker_logs import WorkerLogs
from tests.flow.virtual import virtual
from tests.flow.world import Cluster
from tests.rules.notifications.samples import START, run
from tests.servers.receiver import Receiver

CANARY = "canary-5b31568a-5b31568a"
ROOT = Path(__file__).parents[2]
TYPES = ("webhook", "cloudevents", "chat")
MESSAGE = ChatMessage(title="title", body="body", level="failure")


@pytest.fixture
def receiver():
    with Receiver().running() as found:
        yield found


class Secrets:
    """One Secret; `forgotten` are those to be read again."""

    def __init__(self, value):
        self.value, self.forgotten = value, []

    async def get(self, namespace, name, *keys, live=False):
        if isinstance(self.value, Exception):
            raise self.value
        return dict.fromkeys(keys, self.value.encode())

    def forget(self, namespace, name):
        self.forgotten.append((namespace, name))


def spec_of(kind, receiver):
    """A Notifier of that type, and what its Secret has."""
    secret = {"name": "receiver"}
    if kind == "chat":
        return {"type": "chat", "secretRef": secret}, f"mmost://127.0.0.1:{receiver.port}/{CANARY}"
    return {"type": kind, "address": f"{receiver.url}/hook", "secretRef": secret}, CANARY


@asynccontextmanager
async def messenger(secrets, *, loopback=True, **config):
    """What sends, with the addresses that the runtime config allows."""
    git = GitConfig(**config)
    found = Messenger(
        secrets=secrets,
        git=lambda: git,
        own_addresses=(),
        loopback=loopback,
        simulate=False,
        deadline_s=30.0,
        now=lambda: START,
        logs=WorkerLogs(None, variables_prefix=str),
    )
    try:
        yield found
    finally:
        await found.close()


def notifier_of(spec):
    """A Notifier as the store has it."""
    cluster = Cluster()
    found = cluster.put({"kind": "Notifier", "metadata": {"name": "x", "namespace": "team"}, "spec": spec})
    return cluster.store.get(cluster.ref(found))


async def sent(kind, receiver, *, loopback=True, report=None, **config):
    """The verdict on one message."""
    spec, secret = spec_of(kind, receiver)
    async with messenger(Secrets(secret), loopback=loopback, **config) as sender:
        return await sender.send(notifier_of(spec), report or run("Failed", why="exit code 3"))


@pytest.mark.parametrize("kind", TYPES)
async def test_a_message_arrives(kind, receiver):
    """Once, with the run, and without the value of the Secret in its body."""
    receiver.answers = [200]
    assert await sent(kind, receiver) == Accepted()
    [(path, headers, body)] = receiver.got
    assert "build" in body.decode()
    assert CANARY not in body.decode()
    if kind == "cloudevents":
        assert headers["ce-type"] == "rs.git-events-runner.run.failed"
        assert headers["Authorization"] == f"Bearer {CANARY}"
    if kind == "chat":
        assert path == f"/hooks/{CANARY}"
        assert json.loads(body)["text"].startswith("team/build: run 7 failed after 1 min 1 s")


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_no_redirect_is_followed(kind, status, receiver):
    """It is refused, with one request."""
    with Receiver().running() as other:
        receiver.answers = [(status, {"Location": other.url})]
        assert isinstance(await sent(kind, receiver), Refused)
        assert len(receiver.got) == 1
        assert other.got == []


@pytest.mark.parametrize("kind", TYPES)
async def test_an_address_that_is_not_allowed_gets_nothing(kind, receiver):
    """Validated as those of git servers; the verdict says what to change."""
    verdict = await sent(kind, receiver, loopback=False)
    assert isinstance(verdict, Refused)
    assert receiver.got == []
    assert CANARY not in verdict.message


@pytest.mark.parametrize("kind", TYPES)
async def test_a_scheme_that_is_not_allowed_gets_nothing(kind, receiver):
    """Where only https is allowed."""
    verdict = await sent(kind, receiver, allowedSchemes=("https", "ssh"))
    assert isinstance(verdict, Refused)
    assert "git.allowedSchemes" in verdict.message
    assert receiver.got == []


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(
    ("answer", "after_s"), [((429, {"Retry-After": "7"}), 7.0), (503, None), ((503, {"Retry-After": "9"}), 9.0)]
)
async def test_a_busy_receiver_gets_the_message_again_later(kind, answer, after_s, receiver):
    """After the time that it names."""
    receiver.answers = [answer]
    verdict = await sent(kind, receiver)
    assert isinstance(verdict, Retry)
    assert verdict.after_s == after_s
    assert len(receiver.got) == 1


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
async def test_a_refusal_says_what_to_change_and_shows_no_credential(kind, status, receiver):
    """And it is not tried again."""
    receiver.answers = [status]
    verdict = await sent(kind, receiver)
    assert isinstance(verdict, Refused)
    assert f"HTTP status {status}: " in verdict.message
    assert CANARY not in verdict.message


@pytest.mark.parametrize("kind", TYPES)
async def test_a_receiver_that_is_not_there_is_tried_again(kind):
    """The error names host and port alone."""
    receiver = Receiver()
    receiver._server.server_close()
    verdict = await sent(kind, receiver)
    assert isinstance(verdict, Retry)
    assert str(receiver.port) in verdict.message
    assert CANARY not in verdict.message


async def test_an_address_that_accepted_is_not_sent_the_message_again():
    """While another one of the same Secret is down; the next message goes to both."""
    with Receiver().running() as up, Receiver().running() as down:
        down.answers = [503, 503, 200]
        up.answers = [200, 200]
        secret = "\n".join(f"mmost://127.0.0.1:{each.port}/{CANARY}" for each in (up, down))
        async with messenger(Secrets(secret)) as sender:
            notifier = notifier_of({"type": "chat", "secretRef": {"name": "ops"}})
            verdicts = [await sender.send(notifier, run("Failed")) for _ in range(3)]
            assert [type(each) for each in verdicts] == [Retry, Retry, Accepted]
            assert (len(up.got), len(down.got)) == (1, 3)
            down.answers = [200]
            assert await sender.send(notifier, run("Recovered", number=8, job_uid="other")) == Accepted()
            assert (len(up.got), len(down.got)) == (2, 4)


@virtual
async def test_all_addresses_of_a_message_have_one_deadline_and_those_without_a_turn_come_first_then():
    """One that hangs holds up the others of its Secret once."""
    hangs, got = [True], []

    class Client:
        async def deliver(self, address, **_):
            if hangs[0] and "hangs" in address:
                await asyncio.Event().wait()
            got.append(address.split("/")[2])
            return SimpleNamespace(accepted=True, answer=None, error=None)

    sender = ChatMessages(deadline_s=60.0)
    sender._client = Client()
    secret = b"mmosts://hangs.example/abcdefgh\nmmosts://works.example/abcdefgh"
    send = partial(sender.send, MESSAGE, identity="one", secret=secret, exchange=None, owner="team")
    assert isinstance(await send(), Retry)
    assert got == []
    assert isinstance(await send(), Retry)
    assert got == ["works.example"]
    hangs[0] = False
    assert await send() == Accepted()
    assert got == ["works.example", "hangs.example"]


@pytest.mark.parametrize("kind", TYPES)
async def test_a_secret_that_cannot_be_used_or_read_is_waited_for(kind, receiver):
    """It may be corrected: the message waits."""
    spec, _ = spec_of(kind, receiver)
    for value in ("", ApiUnavailable("no answer")):
        async with messenger(Secrets(value)) as sender:
            verdict = await sender.send(notifier_of(spec), run("Failed"))
            assert isinstance(verdict, Retry)
    assert receiver.got == []


async def test_cloudevents_need_no_secret(receiver):
    """A broker in the cluster has often none."""
    spec = {"type": "cloudevents", "address": f"{receiver.url}/hook"}
    async with messenger(Secrets(ApiUnavailable("not read"))) as sender:
        assert await sender.send(notifier_of(spec), run("Failed")) == Accepted()
    assert "Authorization" not in receiver.got[0][1]


@pytest.mark.parametrize("kind", TYPES)
async def test_a_secret_is_read_again_after_the_receiver_refused_it(kind, receiver):
    """It may have been renewed within the time that it is kept."""
    receiver.answers = [401]
    spec, value = spec_of(kind, receiver)
    secrets = Secrets(value)
    async with messenger(secrets) as sender:
        await sender.send(notifier_of(spec), run("Failed"))
    assert {*secrets.forgotten} == {("team", "receiver")}


def test_nothing_of_it_is_imported_before_a_message_of_its_type():
    """A controller without a Notifier pays nothing for apprise; a webhook does not need it either."""
    code = """
import asyncio, sys
import git_events_runner.app
from tests.wiring.test_message_types import Receiver, Secrets, messenger, notifier_of, run

async def main():
    with Receiver().running() as receiver:
        spec = {"type": "webhook", "address": receiver.url, "secretRef": {"name": "x"}}
        async with messenger(Secrets("k" * 32)) as sender:
            await sender.send(notifier_of(spec), run("Failed"))
        assert len(receiver.got) == 1

heavy = ("apprise", "requests", "charset_normalizer", "markdown")
assert not [name for name in heavy if name in sys.modules]
asyncio.run(main())
assert not [name for name in heavy if name in sys.modules]
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
