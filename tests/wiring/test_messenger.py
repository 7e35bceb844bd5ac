"""Messages to receivers that fail in every way, wrong configurations, and what no message contains."""

import asyncio
import base64
import contextlib
import json
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from git_events_runner.edges.kube.secrets import Secrets
from git_events_runner.edges.kube.snapshot import snapshot_of
from git_events_runner.resources.notifiers import CommitStatus
from git_events_runner.rules.identity import owner_of
from git_events_runner.rules.notifications.cancelled import cancelled
from git_events_runner.rules.notifications.chat import chat_message
from git_events_runner.rules.notifications.cloudevents import cloudevents_request
from git_events_runner.rules.notifications.commit_status import commit_status_request
from git_events_runner.rules.notifications.request import Accepted, Refused, Retry
from git_events_runner.rules.notifications.selection import report_of
from git_events_runner.rules.notifications.webhook import payload_of, webhook_request
from git_events_runner.rules.notifications.worker_log import last_lines
from git_events_runner.settings.runtime import GitConfig
from git_events_runner.wiring.messenger import Messenger
from git_events_runner.wiring.worker_logs import WorkerLogs
from tests.flow.world import START, Cluster, recorded
from tests.rules.notifications.samples import run
from tests.rules.notifications.test_commit_status import TABLE
from tests.servers.closing import serving

KEY = "a key of more than sixteen bytes"
CANARY = "canary5b31568a"


class Receiver:
    """Answers each request by `answer`, which gets the writer; counts requests and the bytes that it could send."""

    def __init__(self, answer):
        self.answer, self.requests, self.bytes = answer, [], 0

    async def __call__(self, reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            size = next(
                int(line[15:]) for line in head.decode().splitlines() if line.lower().startswith("content-length")
            )
            self.requests.append((head.decode(), await reader.readexactly(size)))
            await self.answer(self, writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def status(code, *headers):
    """An answer without a body."""

    async def answer(_, writer):
        lines = [f"HTTP/1.1 {code} X", "Content-Length: 0", *headers]
        writer.write("\r\n".join([*lines, "", ""]).encode())

    return answer


async def slow(_, writer):
    await asyncio.sleep(0.3)
    await status(204)(_, writer)


async def hanging(_, writer):
    await asyncio.sleep(3600)


async def half(_, writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegin")
    await writer.drain()
    await asyncio.sleep(3600)


async def endless(receiver, writer):
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
        await writer.drain()
        receiver.bytes += 4096


async def endless_head(receiver, writer):
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X: " + b"y" * 4000 + b"\r\n")
        await writer.drain()
        receiver.bytes += 4096


async def garbage(_, writer):
    writer.write(b"SSH-2.0-OpenSSH_9.9\r\n" * 9)


async def cut(_, writer):
    writer.transport.abort()


@asynccontextmanager
async def messenger(*, deadline_s=1.0, secrets=None, **git):
    """A Messenger whose Secrets are in namespace `team`."""
    cluster = Cluster()
    values = {"key": {"secret": KEY}, "token": {"token": "token-1"}} | (secrets or {})
    for name, data in values.items():
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        cluster.put({"kind": "Secret", "metadata": {"name": name, "namespace": "team"}, "data": encoded})
    cluster.secrets = Secrets(reader=cluster, cache_s=60, clock=time.monotonic)
    config = GitConfig(**git)
    made = Messenger(
        secrets=cluster.secrets,
        git=lambda: config,
        own_addresses=(),
        loopback=True,
        simulate=False,
        deadline_s=deadline_s,
        now=lambda: START,
        logs=WorkerLogs(cluster, variables_prefix=str),
    )
    made.cluster = cluster
    try:
        yield made
    finally:
        await made.close()


def notifier(**spec):
    """A Notifier as the store has it."""
    given = {"type": "webhook", "address": "http://127.0.0.1:1/", "secretRef": {"name": "key"}} | spec
    given = {name: value for name, value in given.items() if value is not None}
    metadata = {"name": "one", "namespace": "team", "uid": "u", "generation": 1, "resourceVersion": "1"}
    return snapshot_of({"kind": "Notifier", "metadata": metadata, "spec": given}, "Notifier")


FAULTS = {
    "slow": (slow, Accepted, ""),
    "503": (status(503), Retry, "HTTP status 503"),
    "429": (status(429, "Retry-After: 7"), Retry, "HTTP status 429"),
    "401": (status(401), Refused, "renew it in the Secret"),
    "404": (status(404), Refused, "check apiUrl or address"),
    "422": (status(422), Refused, "does the commit exist"),
    "redirect": (status(302, "Location: http://127.0.0.1:1/"), Refused, "write the final address"),
    "hanging": (hanging, Retry, "no complete answer within 1 s"),
    "half an answer": (half, Retry, "no complete answer within 1 s"),
    "endless answer": (endless, Accepted, ""),
    "endless head": (endless_head, Retry, ""),
    "no HTTP": (garbage, Retry, ""),
    "cut": (cut, Retry, ""),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_each_fault_of_a_receiver_means(fault):
    """Accepted, refused with what to do, or to be sent again; one request, and a bounded part of the answer."""
    answer, verdict, text = FAULTS[fault]
    receiver = Receiver(answer)
    async with serving(receiver) as port, messenger() as sender:
        found = await sender.send(notifier(address=f"http://127.0.0.1:{port}/hook"), run())
    assert isinstance(found, verdict), found
    assert text in getattr(found, "message", "")
    assert KEY not in repr(found)
    assert len(receiver.requests) == 1
    assert receiver.bytes < 16 * 2**20


async def test_a_receiver_that_is_down_is_tried_again():
    """No connection."""
    async with serving(Receiver(slow)) as port:
        pass
    async with messenger() as sender:
        assert isinstance(await sender.send(notifier(address=f"http://127.0.0.1:{port}/"), run()), Retry)


async def test_a_host_that_throttles_gets_no_request_of_another_notifier_before_its_time():
    """`Retry-After` applies to the namespace's requests to that host."""
    receiver = Receiver(status(429, "Retry-After: 60"))
    async with serving(receiver) as port, messenger() as sender:
        first = await sender.send(notifier(address=f"http://127.0.0.1:{port}/one"), run())
        second = await sender.send(notifier(address=f"http://127.0.0.1:{port}/two"), run())
    assert first == Retry(message="HTTP status 429", after_s=60.0)
    assert isinstance(second, Retry)
    assert 55 < second.after_s < 66
    assert len(receiver.requests) == 1


async def test_a_renewed_token_is_read_after_a_401():
    """Without a wait for the cache."""
    answers = [status(401), status(204)]

    async def next_answer(receiver, writer):
        await answers.pop(0)(receiver, writer)

    receiver = Receiver(next_answer)
    async with serving(receiver) as port, messenger() as sender:
        target = notifier(
            type="commit-status",
            address=None,
            commitStatus={"forge": "gitea", "apiUrl": f"http://127.0.0.1:{port}"},
            secretRef={"name": "token"},
        )
        report = run(repo_uri="https://127.0.0.1/owner/app.git")
        assert isinstance(await sender.send(target, report), Refused)
        sender.cluster.put(
            {
                "kind": "Secret",
                "metadata": {"name": "token", "namespace": "team"},
                "data": {"token": base64.b64encode(b"token-2").decode()},
            }
        )
        assert await sender.send(target, report) == Accepted()
    assert "token token-1" in receiver.requests[0][0]
    assert "token token-2" in receiver.requests[1][0]


async def test_a_message_with_a_token_renewed_within_the_time_of_the_cache_is_not_lost():
    """It was sent with the token as it was kept: a refusal says nothing about the present one."""
    good = ["token-1"]

    async def by_token(receiver, writer):
        code = 204 if f"Bearer {good[0]}" in receiver.requests[-1][0] else 401
        await status(code, "Connection: close")(receiver, writer)

    receiver = Receiver(by_token)
    async with serving(receiver) as port, messenger() as sender:
        target = notifier(type="cloudevents", address=f"http://127.0.0.1:{port}/", secretRef={"name": "token"})
        assert await sender.send(target, run()) == Accepted()
        good[0] = "token-2"
        sender.cluster.put(
            {
                "kind": "Secret",
                "metadata": {"name": "token", "namespace": "team"},
                "data": {"token": base64.b64encode(b"token-2").decode()},
            }
        )
        found = await sender.send(target, run())
        assert "the Secret was renewed" in found.message
        assert isinstance(found, Retry)
        assert await sender.send(target, run()) == Accepted()


STATUS = {"type": "commit-status", "address": None, "commitStatus": {"forge": "github"}, "secretRef": {"name": "token"}}
WRONG = {
    "no Secret": ({"secretRef": {"name": "none"}}, {}, {}, "Secret team/none does not exist; create it"),
    "no key": ({"secretRef": {"name": "token"}}, {}, {}, "has no key secret; add it or name another key"),
    "short key": ({}, {"key": {"secret": "short"}}, {}, "needs at least 16 bytes"),
    "no base64": ({}, {"key": {"secret": "whsec_***"}}, {}, "what follows whsec_ is not base64"),
    "a scheme in the token": (STATUS, {"token": {"token": "Bearer x"}}, {}, "write it without `Bearer`"),
    "an empty token": (STATUS, {"token": {"token": "\n"}}, {}, "the token is empty"),
    "metadata service": ({"address": "http://169.254.169.254/latest"}, {}, {}, "git.allowedNetworks"),
    "refused network": (
        {"address": "http://203.0.113.9/"},
        {},
        {"refused_networks": ["203.0.113.0/24"]},
        "git.allowedNetworks",
    ),
    "scheme": ({}, {}, {"allowed_schemes": ["https"]}, "git.allowedSchemes"),
    "no host": ({"address": "http://receiver.invalid/"}, {}, {}, "receiver.invalid"),
    "no CA": (
        {"address": "https://127.0.0.1:1/", "tlsConfig": {"caCert": {"secretRef": {"name": "ca"}, "key": "ca.crt"}}},
        {"ca": {"ca.crt": "no PEM"}},
        {},
        "certificate",
    ),
    "path": (STATUS, {}, {}, "only is no owner and repository: correct repoUri"),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_wrong_configuration_has_a_message_with_what_to_do(wrong):
    """Without a request to a receiver; the message is that of the condition."""
    spec, secrets, git, text = WRONG[wrong]
    receiver, path = Receiver(status(204)), "only" if wrong == "path" else "owner/app"
    async with serving(receiver) as port, messenger(secrets=secrets, **git) as sender:
        if spec.get("type") != "commit-status":
            spec = {"address": f"http://127.0.0.1:{port}/"} | spec
        found = await sender.send(notifier(**spec), run(repo_uri=f"https://github.com/{path}"))
    assert isinstance(found, Refused | Retry)
    assert text in found.message
    assert receiver.requests == []


def canary_job(state):
    """A run whose clone address, branch, commit, environment and command contain a secret."""
    cluster = Cluster()
    repository = {"repoUri": f"https://git.example/owner/app.git?token={CANARY}"}
    cluster.put({"kind": "GitRepo", "metadata": {"name": "app", "namespace": "n"}, "spec": repository})
    source = f"app@heads/{CANARY}"
    status_ = recorded()
    status_["checkedSources"][source] = status_["checkedSources"]["app"]
    trigger = cluster.trigger(status=status_)
    job = cluster.job(
        trigger,
        source=source,
        suspend=state == "Queued",
        commit_author=CANARY,
        commit_subject=CANARY,
        task_ids=CANARY,
        author=CANARY,
        subject=CANARY,
    )
    container = {
        "name": "action-worker",
        "command": [CANARY],
        "args": [CANARY],
        "env": [{"name": "X", "value": CANARY}],
    }
    job["spec"] |= {"template": {"spec": {"containers": [container]}}}
    if state in {"Succeeded", "Failed"}:
        kind = {"Succeeded": "Complete", "Failed": "Failed"}[state]
        condition = {"type": kind, "status": "True", "message": CANARY, "lastTransitionTime": START.isoformat()}
        job["status"] = {"conditions": [condition | {"reason": "BackoffLimitExceeded"}]}
    cluster.put(job)
    found = cluster.store.get(cluster.ref(job))
    report = report_of(found, owner_of(found, cluster.store), cluster.store)
    return cancelled(report, "Superseded", START) if state == "Cancelled" else report


@pytest.mark.parametrize("state", ["Queued", "Started", "Succeeded", "Failed", "Cancelled"])
async def test_no_message_of_any_type_contains_what_may_be_a_secret(state):
    """Clone address, environment, command, log, branch names, commit messages; and the key that signs."""
    report = canary_job(state)
    assert report.state == state
    report = replace(report, log=last_lines(f"token={CANARY}\n{CANARY}\n".encode(), 9, [CANARY]))
    target = "https://ci.example/{namespace}/{trigger}/{kind}/{source}/{run}/{commit}/{job}"
    requests = [
        webhook_request("https://x", report, notifier_uid="u", secret=KEY.encode(), target_url=target, now=START),
        cloudevents_request("https://x", payload_of(report, target, START), identity="i", token=None, now=START),
    ]
    for forge, (uri, api_url, *_) in TABLE.items():
        spec = CommitStatus(forge=forge, api_url=api_url, context="{namespace}/{trigger}/{kind}/{source}")
        owner = replace(report, repo_uri=report.repo_uri.replace("https://git.example/owner/app.git", uri))
        requests.append(commit_status_request(spec, owner, secret=b"t", target_url=target))
        requests.append(commit_status_request(spec, owner, secret=b"t", target_url=None))
    assert len(requests) == 14
    assert CANARY not in str(chat_message(report, target))
    for request in requests:
        sent = f"{request.url} {request.body.decode()} {dict(request.headers)}"
        assert CANARY not in sent
        assert KEY not in sent
        json.loads(request.body)


def test_without_a_notifier_the_client_of_messages_is_not_imported():
    """Nor a library for them, by the import of all of the controller."""
    code = (
        "import sys, git_events_runner.app\n"
        "print([name for name in sys.modules if name.split('.')[0] in {'apprise', 'cloudevents'} "
        "or name.endswith('http.messages')])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
