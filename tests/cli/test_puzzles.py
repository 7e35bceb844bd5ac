"""Why a run is missing: the first line of `explain` on objects that a controller at work and git servers have written.

A delivery that is ignored or not signed leaves no object: it is sent to the controller, and explained as its operator
does, from the file and the headers that the forge shows.
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import re
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from starlette.responses import JSONResponse

from git_events_runner.local.apiserver.metadata import rfc3339
from git_events_runner.local.apiserver.refusal import Refusal
from git_events_runner.local.executor.job_status import SUCCEEDED, ended, started
from git_events_runner.resources.kinds import KINDS
from git_events_runner.resources.ref import Ref
from tests.cli.controllers import working
from tests.flow.virtual import until
from tests.servers import sshd as sshd_server

KEY = b"0123456789abcdef0123456789abcdef"
UNSEEN = "c" * 40
CONFIG = """\
action: {maxRunningJobs: 1, actionsMayName: {serviceAccounts: [deployer]}}
policy: {minimumIntervalSeconds: 2}
"""
NEVER = [{"allow": "0 0 29 2 *", "duration": "1h"}]


@contextlib.asynccontextmanager
async def refusing(status, **headers):
    """A git server that responds to every request with one status; its address."""

    async def respond(_request):
        return web.Response(status=status, headers=headers)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", respond)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/app.git"
    finally:
        await runner.cleanup()


class Company:
    """Triggers on one cluster, each for one puzzle."""

    def __init__(self, cluster):
        self.cluster = cluster

    async def trigger(self, name, kind="ScheduleTrigger", *, watch=None, source="app", **spec):
        when = {"schedule": {"interval": "2s"}} if kind == "ScheduleTrigger" else {}
        sources = {"names": [source], "watchOn": {"onChangeOnly": True, **(watch or {})}}
        return await self.cluster.trigger(name, kind, sources=sources, **{**when, **spec})

    async def secret(self, name, **values):
        data = {key: base64.b64encode(value).decode() for key, value in values.items()}
        await self.cluster.create("Secret", name, {"data": data})

    def jobs(self, trigger):
        found = self.cluster.server.storage.items(KINDS["Job"])
        return [one for one in found if one["metadata"]["labels"]["git-events-runner.rs/trigger-name"] == trigger]

    async def job(self, trigger, *, admitted=True):
        """The Job of a trigger, once it exists and may start."""
        [found] = await until(
            lambda: [one for one in self.jobs(trigger) if not (admitted and one["spec"].get("suspend"))], within_s=120
        )
        return Ref("Job", "default", found["metadata"]["name"])

    async def finish(self, trigger):
        """Its Job succeeds, as the executor of a cluster reports it."""
        job, now = await self.job(trigger), rfc3339(self.cluster.client.clock.now())
        for patch in (started(now), ended(SUCCEEDED, now, failures=0)):
            await self.cluster.client.patch(job, patch, subresource="status")

    def status(self, kind, name):
        return self.cluster.server.storage.get(KINDS[kind], "default", name).get("status") or {}

    async def first_line(self, words, wanted, *, within_s=60):
        """The first line of `explain`, as soon as it is the one that is expected, else after a while."""

        async def line():
            done = await self.cluster.run("explain", *words.split(), "--controller-namespace", "default")
            assert KEY.decode() not in done.out
            return stable(done.out.splitlines()[0])

        found = await line()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while found != wanted:
                    await asyncio.sleep(0.5)
                    found = await line()
        return found


AUTH = {"type": "github", "secretRef": {"name": "hook"}, "key": "token"}
# Twenty reasons for which operators miss a run, and two more: the words of `explain`. Its first line of each is in
# puzzles.txt.
PUZZLES = {
    "wrong branch": "branch",
    "files filter": "files",
    "window": "window",
    "debounce": "debounce",
    "cooldown": "cooldown",
    "suspended": "suspended",
    "group busy": "group-b",
    "slot busy": "slot",
    "quota": "quota",
    "host back-off": "throttled",
    "credential": "credential",
    "secret missing": "secretless",
    "host key": "pinned",
    "secret too short": "wt/short",
    "delivery ignored": "wt/hook --payload issues.json --header X-GitHub-Event:issues",
    "signature wrong": "wt/hook --payload push.json --header X-GitHub-Event:push",
    "other reference, of a delivery": "wt/hook --payload feature.json --header X-GitHub-Event:push",
    "other reference": "elsewhere --live",
    "announced commit not shown": "wt/hook",
    "policy": "policy",
    "interval too short": "often",
    "trigger of another namespace": "foreign",
    "Job deleted by hand": "deleted",
}
# What differs from run to run.
_VOLATILE = (
    (r"\b[0-9a-f]{12}(?:[0-9a-f]{28})?\b", "COMMIT"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)", "TIME"),
    (r"(?<=-)[a-z2-7]{16}\b", "DIGEST"),
    (r"127\.0\.0\.1:\d+", "HOST"),
    (r"\[127\.0\.0\.1\]:\d+", "HOST"),
    (r"(?<=HOST/)r\d+(?=\.git)", "r0"),  # how many repositories this process has had before
    (r"SHA256:[\w+/=]+", "FINGERPRINT"),
    (r"\b\d+ s\b", "N s"),
)


def stable(line):
    """A line without what differs from run to run."""
    for pattern, word in _VOLATILE:
        line = re.sub(pattern, word, line)
    return line


def expected():
    """The first line of each puzzle."""
    blocks = (Path(__file__).parent / "puzzles.txt").read_text(encoding="utf-8").split("\n\n")
    return dict(block.strip().split("\n", 1) for block in blocks if not block.startswith("#"))


@contextlib.asynccontextmanager
async def seeded(cluster, repository):
    """All puzzles on one cluster, with the controller that has worked on them."""
    made = Company(cluster)
    await cluster.create("ConfigMap", "git-events-runner-config", {"data": {"runtimeConfig": CONFIG}})
    await cluster.create("GitRepo", "app", {"repoUri": repository.url})
    await cluster.create("Action", "build", {"actionJob": {"command": ["true"]}})
    await cluster.create("Action", "admin", {"actionJob": {"serviceAccount": "admin"}})
    await cluster.create("Namespace", "team")
    await cluster.create("GitRepo", "lib", {"repoUri": repository.url}, namespace="team")
    await made.secret("hook", token=KEY)
    await made.secret("short", token=b"short")
    await made.secret("forge", token=b"Bearer x")

    async def refuse_quota(request, proceed):
        if request.method == "POST" and request.url.path.endswith("/jobs"):
            body = await request.json()
            if body["metadata"]["name"].startswith("quota-"):
                message = 'jobs.batch "x" is forbidden: exceeded quota: none, requested: count/jobs.batch=1'
                return JSONResponse(Refusal(403, "Forbidden", message).body, status_code=403)
        return await proceed()

    cluster.server.intercept = refuse_quota
    async with refusing(429, **{"Retry-After": "600"}) as busy, refusing(401) as locked, working(cluster) as at:
        hooks = f"http://127.0.0.1:{at.webhooks_port}"
        auth = {"type": "token", "secretRef": {"name": "forge"}}
        await cluster.create("GitRepo", "busy", {"repoUri": busy})
        await cluster.create("GitRepo", "locked", {"repoUri": locked, "authConfig": auth})
        nothing = {"type": "token", "secretRef": {"name": "nothing"}}
        await cluster.create("GitRepo", "secretless", {"repoUri": repository.url, "authConfig": nothing})
        repository.push({"docs/a.md": "1\n"})
        await made.trigger("files", watch={"files": ["docs/**"]})
        await made.finish("files")
        await made.trigger("cooldown", cooldown="1h")
        await made.finish("cooldown")
        group = {"policy": "Queue", "group": "terraform"}
        await made.trigger("group-a", concurrency=group)
        await made.job("group-a")
        await made.trigger("window", firstCheck="Record", windows=NEVER)
        await made.trigger("debounce", firstCheck="Record", debounce={"quiet": "5m"})
        await made.trigger("branch", watch={"reference": {"branch": "missing"}})
        await made.trigger("throttled", source="busy")
        await made.trigger("credential", source="locked")
        await made.trigger("secretless", source="secretless")
        await made.trigger("suspended", suspend=True)
        await made.trigger("quota")
        await made.trigger("policy", action={"kind": "Action", "name": "admin"})
        await made.trigger("often", schedule={"interval": "1s"})
        await made.trigger("foreign", source="lib")
        hook = {"multiSource": True, "authConfig": AUTH}
        await made.trigger("hook", "WebhookTrigger", webhook=hook)
        short = {"multiSource": True, "authConfig": {**AUTH, "secretRef": {"name": "short"}}}
        await made.trigger("short", "WebhookTrigger", webhook=short)
        for name in ("window", "debounce"):
            await until(lambda name=name: made.status("ScheduleTrigger", name).get("checkedSources"), within_s=120)
        repository.push({"src.py": "2\n"})
        await made.trigger("group-b", concurrency=group)
        await made.trigger("slot")
        await made.trigger("deleted")
        job = await made.job("deleted", admitted=False)
        await until(lambda: made.status("ScheduleTrigger", "deleted").get("checkedSources"), within_s=120)
        await cluster.client.delete(job)
        repository.push({"feature.py": "3\n"}, branch="feature")
        await made.trigger("elsewhere", firstCheck="Record")
        yield made, hooks


def signed(body, *, event="push", delivery="1", key=KEY):
    """The headers that GitHub sends with a body."""
    return {
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": delivery,
        "X-Hub-Signature-256": f"sha256={hmac.new(key, body, hashlib.sha256).hexdigest()}",
        "Content-Type": "application/json",
    }


async def deliver(hooks, body, **options):
    """The response to a delivery, once the replica knows the trigger."""
    async with aiohttp.ClientSession() as session, asyncio.timeout(60):
        while True:
            async with session.post(f"{hooks}/default/hook", data=body, headers=signed(body, **options)) as response:
                if response.status != 404:
                    return response.status


@pytest.mark.timeout(900)
async def test_the_first_line_names_the_cause(cluster, repository, tmp_path):
    """Causes of a missing run, made by a controller at work: each is named first, with what to do."""
    wanted = expected()
    del wanted["host key"]  # needs a server: the next test
    async with seeded(cluster, repository) as (made, hooks):
        found = {}
        for name, line in wanted.items():
            if name == "announced commit not shown":
                body = json.dumps(push_of(repository, after=UNSEEN)).encode()
                for number in range(6):  # a check gives up after 30 s
                    assert await deliver(hooks, body, delivery=f"unseen-{number}") == 202
                    found[name] = await made.first_line(PUZZLES[name], line, within_s=10)
                    if found[name] == line:
                        break
            elif "--payload" in PUZZLES[name]:
                found[name] = await delivered(made, hooks, repository, tmp_path, name)
            else:
                found[name] = await made.first_line(PUZZLES[name], line)
    assert found == wanted


def push_of(repository, *, branch="main", after="d" * 40):
    """A push as GitHub reports it."""
    return {"ref": f"refs/heads/{branch}", "after": after, "repository": {"clone_url": repository.url}}


async def delivered(made, hooks, repository, folder, name):
    """The first line of `explain` about a delivery, whose status the controller has responded with."""
    payload, options = {
        "delivery ignored": ({"action": "opened", "repository": {"clone_url": repository.url}}, {"event": "issues"}),
        "signature wrong": (push_of(repository), {"key": b"another"}),
        "other reference, of a delivery": (push_of(repository, branch="feature"), {}),
    }[name]
    body = json.dumps(payload).encode()
    response = await deliver(hooks, body, delivery=name, **options)
    file = folder / "body.json"
    file.write_bytes(body)
    words = PUZZLES[name].split(" --payload ")[0]
    headers = [word for pair in signed(body, **options).items() for word in ("--header", ": ".join(pair))]
    done = await made.cluster.run("explain", words, "--payload", str(file), *headers)
    line = stable(done.out.splitlines()[0])
    assert line.startswith(f"it gets {response}"), (response, line)
    return line


async def test_a_changed_host_key(cluster, repository, tmp_path):
    """The key that a server shows first is pinned; when it shows another one, that is the cause."""
    try:
        sshd = sshd_server.Sshd(tmp_path / "sshd", types=("ed25519",))
    except sshd_server.Unavailable as missing:
        pytest.skip(str(missing))
    made, name = Company(cluster), PUZZLES["host key"]
    try:
        await made.secret("deploy", **{"ssh-privatekey": sshd.key.read_bytes()})
        auth = {"type": "ssh", "secretRef": {"name": "deploy"}}
        await cluster.create("GitRepo", "app", {"repoUri": sshd.url(repository.path), "authConfig": auth})
        await cluster.create("Action", "build", {"actionJob": {"command": ["true"]}})
        await made.trigger(name)
        async with working(cluster):
            await until(lambda: made.status("GitRepo", "app").get("hostKeys"), within_s=120)
            sshd.new_host_key("ed25519")
            sshd.restart(types=("ed25519",))
            line = expected()["host key"]
            assert await made.first_line(name, line) == line
    finally:
        sshd.close()


def test_the_list_is_the_one_of_the_page():
    """Each puzzle has its line, and there are twenty and more."""
    assert [*expected()] == [*PUZZLES]
    assert len(PUZZLES) >= 20
