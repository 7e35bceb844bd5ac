"""Fuzzes a replica's webhook port: twisted payloads with good signatures, and mangled bytes."""

import asyncio
import contextlib
import json
import random
from collections import Counter

from tests.forges import deliveries as d
from tests.system.conftest import sources
from tests.system.sending import secret

SECRETS = {
    "header": d.SECRET,
    "github": d.SECRET,
    "gitlab": d.SECRET,
    "gitea": d.SECRET,
    "bitbucket": d.SECRET,
    "azure": "bob:pass word",
    "standard-webhooks": d.SIGNING,
    "hmac": d.SECRET,
}
MAKERS = {
    "github": [d.github, lambda: d.github(form=True), lambda: d.github(event="ping")],
    "gitea": [d.gitea, lambda: d.gitea(form=True), lambda: d.gitea(name="Forgejo")],
    "gitlab": [d.gitlab, lambda: d.gitlab(signed=d.SIGNING), lambda: d.gitlab(kind="issue")],
    "bitbucket": [d.bitbucket_cloud, d.bitbucket_server],
    "azure": [d.azure],
    "standard-webhooks": [d.standard],
    "hmac": [d.plain_hmac],
    "header": [d.plain],
}
STRANGE = [
    None,
    True,
    0,
    -1,
    1e308,
    10**40,
    "",
    "x" * 5000,
    "\0",
    "\ud7ff☃",
    "refs/heads/main",
    d.ZERO,
    [],
    {},
    [[[[]]]],
    {"a": {"a": {}}},
    "https://[::1]:99999/x",
    "git@:x",
]


def prepare(api, namespace):
    """A trigger of each type, named as it."""
    for kind, value in SECRETS.items():
        secret(api, namespace, kind, value)
        spec = sources() | {"webhook": {"multiSource": True, "matchRepository": kind == "gitea"}}
        spec["webhook"]["authConfig"] = {"secretRef": {"name": kind}, "key": "token", "type": kind}
        api.ours("WebhookTrigger", namespace, kind, spec)


def twisted(rng, value):
    """A JSON value with one part replaced, removed or nested."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        name = rng.choice(list(value))
        copy = dict(value)
        if rng.random() < 0.15:
            del copy[name]
        else:
            copy[name] = twisted(rng, value[name])
        return copy
    if isinstance(value, list) and value and rng.random() < 0.7:
        return [twisted(rng, value[0]), *value[1:], rng.choice(STRANGE)]
    return rng.choice(STRANGE)


def signed(rng, kind):
    """A delivery whose payload is twisted and whose proof is good."""
    headers, body = rng.choice(MAKERS[kind])()
    if kind in {"header", "hmac", "standard-webhooks"} or b"payload=" in body[:9] or "webhook-signature" in headers:
        return headers, body
    payload = json.loads(body)
    for _ in range(rng.randint(1, 3)):
        payload = twisted(rng, payload)
    body = json.dumps(payload).encode()
    if rng.random() < 0.1:
        body = rng.choice([b"[" * 20_000, body[: len(body) // 2], body.replace(b":", b":NaN,", 1), body + b"\xff", b""])
    proof = d.digest(d.SECRET, body)
    again = {
        "X-Hub-Signature-256": f"sha256={proof}",
        "X-Hub-Signature": f"sha256={proof}",
        "X-Gitea-Signature": proof,
        "X-Forgejo-Signature": proof,
    }
    return headers | {name: value for name, value in again.items() if name in headers}, body


def mangled(rng, data):
    """Bytes of a request with a few of them changed, moved, doubled or cut."""
    found = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at, to = sorted((rng.randrange(len(found) + 1), rng.randrange(len(found) + 1)))
        to = min(to, at + 200)
        choice = rng.randrange(5)
        if choice == 0 and found:
            found[at % len(found)] = rng.randrange(256)
        elif choice == 1:
            del found[at:to]
        elif choice == 2:
            found[at:at] = found[at:to]
        elif choice == 3:
            found[at:at] = rng.randbytes(rng.randrange(40))
        else:
            lines = bytes(found).split(b"\r\n")
            lines.insert(rng.randrange(len(lines)), rng.choice(lines))
            found = bytearray(b"\r\n".join(lines))
    return bytes(found)


def request(rng, namespace):
    """Bytes of one request, and whether its framing is whole."""
    kind = rng.choice(list(MAKERS))
    headers, body = signed(rng, kind if rng.random() < 0.9 else rng.choice(list(MAKERS)))
    path = rng.choice(
        [f"/{namespace}/{kind}"] * 8 + [f"/{namespace}", f"/{namespace}/{kind}/app", f"/{namespace}/none"]
    )
    if rng.random() < 0.05:
        headers |= {rng.choice(list(headers) or ["X"]): rng.choice(["", "x", "sha256=", "\xff", "y" * 9000])}
    method = "GET" if rng.random() < 0.02 else "POST"
    lines = [f"{method} {path} HTTP/1.1", "Host: hooks", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    data = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
    return (data, True) if rng.random() < 0.7 else (mangled(rng, data), False)


async def _answer(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
    await reader.readexactly(length)
    return int(head[9:12]), b"connection: close" in lines


async def _client(port, namespace, seed, count, statuses):
    rng = random.Random(seed)
    reader = writer = None
    for _ in range(count):
        data, whole = request(rng, namespace)
        if writer is None:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        status, closed = "closed", True
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            writer.write(data)
            async with asyncio.timeout(60 if whole else 0.2):
                status, closed = await _answer(reader)
        statuses[status] += 1
        if closed or not whole:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            writer = None
    if writer is not None:
        writer.close()


def fuzz(replica, namespace, *, count, seed, clients=32):
    """Send `count` requests; how often each status came back (`closed`: none)."""
    statuses = Counter()

    async def work():
        share = count // clients
        await asyncio.gather(*(_client(replica.hooks, namespace, seed + n, share, statuses) for n in range(clients)))

    asyncio.run(work())
    return statuses
