"""The webhook application on a real socket, with everything behind it in memory."""

import asyncio
import contextlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from git_events_runner.edges.kube.store import Store
from git_events_runner.errors import ApiUnavailable, SecretUnusable
from git_events_runner.flow.webhooks import Bounds, Webhooks
from git_events_runner.serving import Limits, listen, serving
from git_events_runner.telemetry.metrics import Metrics
from tests.forges import deliveries as d

KINDS = ["header", "github", "gitlab", "gitea", "bitbucket", "azure", "standard-webhooks", "hmac"]
SECRETS = {
    "plain": d.SECRET,
    "azure": "bob:pass word",
    "standard-webhooks": d.SIGNING,
    "known": d.SECRET,
    "unread": d.SECRET,
    "rotated": f"{d.SECRET} old\n{d.SECRET}",
}


class Secrets:
    """Secrets of a dict; counts reads; `failure` is raised instead, and for those in `unread` an outage."""

    def __init__(self):
        self.reads = 0
        self.failure = None
        self.unread = set()

    async def get(self, namespace, name, *keys, live=False):
        self.reads += 1
        if self.failure:
            raise self.failure
        if name in self.unread:
            raise ApiUnavailable("time-out")
        if name not in SECRETS:
            raise SecretUnusable(f"Secret {namespace}/{name} does not exist")
        return {"token": SECRETS[name].encode()}


@dataclass
class Counter:
    """Counts in memory; `failure` is raised instead."""

    counted: list = field(default_factory=list)
    pulls: dict = field(default_factory=dict)
    failure: Exception | None = None

    async def count(self, trigger, uid, asked, *, task, warning, pulls):
        await asyncio.sleep(0)
        if self.failure:
            raise self.failure
        new = task not in [one[2] for one in self.counted]
        self.counted.append((trigger.name, dict(asked), task, warning))
        self.pulls |= pulls
        return new


def trigger(name, auth=None, *, secret="plain", match=False, multi=True, namespace="ns", **watch):
    """A webhook trigger as the API server would send it."""
    webhook = {"multiSource": multi, "matchRepository": match}
    if auth:
        webhook["authConfig"] = {"type": auth, "key": "token", "secretRef": {"name": secret}}
    return {
        "apiVersion": "git-events-runner.rs/v1alpha1",
        "kind": "WebhookTrigger",
        "metadata": {"name": name, "namespace": namespace, "uid": f"u-{name}", "resourceVersion": "1", "generation": 1},
        "spec": {
            "sources": {"kind": "GitRepo", "names": ["app", "other"], "watchOn": {"onChangeOnly": True} | watch},
            "action": {"kind": "Action", "name": "build"},
            "webhook": webhook,
        },
    }


def repository(name, url):
    """A source."""
    return {
        "apiVersion": "git-events-runner.rs/v1alpha1",
        "kind": "GitRepo",
        "metadata": {"name": name, "namespace": "ns", "uid": f"r-{name}", "resourceVersion": "1", "generation": 1},
        "spec": {"repoUri": url},
    }


@dataclass
class Port:
    """A served application."""

    number: int
    counter: Counter
    secrets: Secrets
    metrics: Metrics
    rechecked: list
    store: Store

    async def raw(self, data, *, timeout_s=20.0):
        """Send bytes; everything that comes back until the connection is closed."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.number)
        try:
            writer.write(data)
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            async with asyncio.timeout(timeout_s):
                with contextlib.suppress(ConnectionError):
                    return await reader.read()
            return b""
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def post(self, path, delivery=({}, b""), *, method="POST", **more):
        """Status of one request; 0 when the connection was closed without an answer."""
        headers, body = delivery
        lines = [f"{method} {path} HTTP/1.1", "Host: hooks", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if not any(name.lower() in {"content-length", "transfer-encoding"} for name in headers):
            lines.append(f"Content-Length: {len(body)}")
        found = await self.raw("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body, **more)
        return int(found[9:12]) if found else 0


@contextlib.asynccontextmanager
async def served(
    *,
    rates=None,
    trusted=(),
    ready=lambda: True,
    objects=(),
    header_s=10.0,
    uniform=False,
    limits=None,
    secrets=None,
    ahead_s=0.0,
    **bounds,
):
    """The application with a trigger of each type (named as it), `open`, `broken` (no Secret) and `rotated`.

    Its clock is `ahead_s` seconds ahead of this machine's.
    """
    store = Store()
    for kind in KINDS:
        store.observe(trigger(kind, kind, secret=kind if kind in SECRETS else "plain"))
    store.observe(trigger("open"))
    store.observe(trigger("single", multi=False))
    store.observe(trigger("broken", "github", secret="missing"))
    store.observe(trigger("rotated", "github", secret="rotated"))
    store.observe(repository("app", d.HTTP))
    store.observe(repository("other", "https://forge.example.com/team/other"))
    for each in objects:
        store.observe(each)
    counter, secrets, metrics, rechecked = Counter(), secrets or Secrets(), Metrics(prefix="t"), []
    app = Webhooks(
        store=store,
        counter=counter,
        secrets=secrets,
        recheck_secret=rechecked.append,
        default_header=lambda: "x-trigger-auth",
        uniform=lambda: uniform,
        aliases=dict,
        rates=rates or {},
        trusted_proxies=trusted,
        ready=ready,
        metrics=metrics,
        now=lambda: datetime.now(UTC) + timedelta(seconds=ahead_s),
        bounds=Bounds(**bounds),
    )
    with listen(0, host="127.0.0.1") as sock:
        async with serving(app, sock, limits=limits or Limits(header_s=header_s), trusted_proxies=trusted):
            yield Port(sock.getsockname()[1], counter, secrets, metrics, rechecked, store)
