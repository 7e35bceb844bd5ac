"""Why a run is missing: the first line of `explain` on objects that a controller at work and git servers have written.

Deliveries that are ignored or not signed leave no object: those are in test_explain, as the host key is.
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
from dataclasses import replace

import aiohttp
import pytest
import structlog
from aiohttp import web
from starlette.responses import JSONResponse

from git_events_runner.app import controller
from git_events_runner.edges.kube.client import Client
from git_events_runner.local.apiserver.metadata import rfc3339
from git_events_runner.local.apiserver.refusal import Refusal
from git_events_runner.local.executor.job_status import SUCCEEDED, ended, started
from git_events_runner.resources.kinds import KINDS
from git_events_runner.resources.ref import Ref
from git_events_runner.settings import Settings
from tests.flow.virtual import until

KEY = b"0123456789abcdef0123456789abcdef"
UNSEEN = "c" * 40
CONFIG = """\
action: {maxRunningJobs: 1, actionsMayName: {serviceAccounts: [deployer]}}
policy: {minimumIntervalSeconds: 2}
"""
NEVER = [{"allow": "0 0 29 2 *", "duration": "1h"}]


def drop(*_):
    raise structlog.DropEvent


@contextlib.asynccontextmanager
async def working(cluster):
    """A complete controller on the cluster; the address of its webhook port."""
    settings = replace(
        Settings.of({}, {}), webhooks_port=0, utility_port=0, namespace="default", host="127.0.0.1", allow_loopback=True
    )
    structlog.configure(processors=[drop], cache_logger_on_first_use=False)
    try:
        async with (
            Client.connect_to(cluster.server.url, cluster.server.token) as client,
            controller(settings, client) as addresses,
        ):
            yield f"http://127.0.0.1:{addresses.webhooks_port}"
    finally:
        structlog.reset_defaults()


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

    async def first_line(self, puzzle, *, within_s=90):
        """The first line of `explain`, as soon as it has what is expected, else after a while."""
        name, words = puzzle

        async def line():
            done = await self.cluster.run("explain", *name.split(), "--controller-namespace", "default")
            assert KEY.decode() not in done.out
            return done.out.splitlines()[0]

        found = await line()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while not all(word in found for word in words):
                    await asyncio.sleep(0.5)
                    found = await line()
        return found


AUTH = {"type": "github", "secretRef": {"name": "hook"}, "key": "token"}
PUZZLES = {
    "wrong branch": ("branch", ["ReferenceNotFound", "missing", "spec.sources.watchOn.reference"]),
    "files filter": ("files", ["changes no file that spec.sources.watchOn.files selects", "correct the patterns"]),
    "window": ("window", ["OutsideWindows: source app: commit ", "git-events-runner trigger scheduletrigger/window"]),
    "debounce": ("debounce", ["Debounce: source app: commit ", "it starts then by itself"]),
    "cooldown": ("cooldown", ["Cooldown: source app: commit ", "it starts then by itself"]),
    "suspended": ("suspended", ["the trigger is suspended", "git-events-runner resume scheduletrigger/suspended"]),
    "group busy": ("group-b", ["waits for group-a-", "of its concurrency group terraform", "when that run ends"]),
    "slot busy": (
        "slot",
        ["waits for a slot: all 1 are held (the oldest by Job group-a-", "raise action.maxRunningJobs"],
    ),
    "quota": ("quota", ["QuotaExceeded", "exceeded quota: none", "raise the namespace's ResourceQuota"]),
    "host back-off": ("throttled", ["RateLimited: source busy", "throttles", "check less often"]),
    "credential": ("credential", ["AuthenticationFailed: source locked", "credential"]),
    "Secret": ("secretless", ["SecretNotFound: source secretless", "nothing"]),
    "secret too short": ("wt/short", ["key token of Secret short has fewer than 16 bytes", "at least 16 random bytes"]),
    "announced commit": ("wt/hook", [f"commit {UNSEEN[:12]} was announced at ", "a mirror may be late"]),
    "policy": ("policy", ["names the service account admin", "use one of deployer"]),
    "interval": ("often", ["is scheduled every 1 s; the installation allows 2 s", "minimumIntervalSeconds"]),
    "other namespace": ("elsewhere", ["GitRepo default/lib does not exist", "there is one in team"]),
    "deleted Job": ("deleted", ["was deleted before it ended", "rerun scheduletrigger/deleted -n default"]),
}


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
    async with refusing(429, **{"Retry-After": "600"}) as busy, refusing(401) as locked, working(cluster) as hooks:
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
        await made.trigger("elsewhere", source="lib")
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
        yield made, hooks


async def deliver(hooks, repository, number):
    """A signed push of a commit that the git server does not show; its check gives up after 30 s."""
    push = {"ref": "refs/heads/main", "after": UNSEEN, "repository": {"clone_url": repository.url}}
    body = json.dumps(push).encode()
    headers = {
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": str(number),
        "X-Hub-Signature-256": f"sha256={hmac.new(KEY, body, hashlib.sha256).hexdigest()}",
        "Content-Type": "application/json",
    }
    async with aiohttp.ClientSession() as session:
        code = 404
        async with asyncio.timeout(60):
            while code == 404:  # until the replica knows the trigger
                async with session.post(f"{hooks}/default/hook", data=body, headers=headers) as response:
                    code = response.status
        assert code == 202


@pytest.mark.timeout(900)
async def test_the_first_line_names_the_cause(cluster, repository):
    """Causes of a missing run, made by a controller at work: each is named first, with what to do."""
    async with seeded(cluster, repository) as (made, hooks):
        found = {}
        for name, puzzle in PUZZLES.items():
            if name == "announced commit":
                for number in range(6):
                    await deliver(hooks, repository, number)
                    found[name] = await made.first_line(puzzle, within_s=10)
                    if all(word in found[name] for word in puzzle[1]):
                        break
            else:
                found[name] = await made.first_line(puzzle)
    wrong = {name: line for name, line in found.items() if not all(word in line for word in PUZZLES[name][1])}
    assert wrong == {}
