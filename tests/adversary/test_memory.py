"""Item 20: what a tenant makes the controller hold: Secrets, and repositories within all limits."""

import base64
import random

from tests.cluster.plane import wait_until
from tests.edges.git.gitserver import commit_tree, git
from tests.system.conftest import sources
from tests.system.sending import send

_SECRETS = 200
_BYTES = 700 * 1024
_REPOSITORIES = 8
_FILES = 300_000


def test_item_20_large_secrets(estate):
    """200 Secrets of 700 KB, each asked for by a sender without a proof, stay out of memory."""
    replica = estate.start()
    tenant, evil = estate.tenant, estate.evil
    tenant.ours("Action", evil, "build", {"actionJob": {"command": ["true"]}})
    tenant.ours("GitRepo", evil, "app", {"repoUri": "http://127.0.0.1:1/x.git"})
    large = base64.b64encode(b"x" * _BYTES).decode()
    path = f"/api/v1/namespaces/{evil}/secrets"
    for number in range(_SECRETS):
        data = {"token": base64.b64encode(b"0123456789abcdef").decode(), "file": large}
        tenant.post(path, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"s{number}"}, "data": data})
        auth = {"secretRef": {"name": f"s{number}"}, "key": "token" if number % 2 else "file"}
        spec = sources() | {"webhook": {"multiSource": True, "authConfig": auth}}
        tenant.ours("WebhookTrigger", evil, f"h{number}", spec)
    header = {"x-trigger-auth": "wrong"}
    last = f"/{evil}/h{_SECRETS - 1}"
    wait_until("the triggers are known", lambda: send(replica, last, (header, b"")).status != 404)
    with estate.watched(seconds=4) as measured:
        for number in range(_SECRETS):
            send(replica, f"/{evil}/h{number}", (header, b""))
    rss = measured[0].rss
    assert max(rss) - rss[0] < 100, rss


def test_item_20_large_repositories(estate, git_server):
    """Eight repositories with 300,000 files each change at the same time, and stay within the memory of one or two."""
    estate.start()
    tenant, evil = estate.tenant, estate.evil
    tenant.ours("Action", evil, "build", {"actionJob": {"command": ["true"]}})
    repositories = [git_server.repository() for _ in range(_REPOSITORIES)]
    last = [_push(each, seed) for seed, each in enumerate(repositories)]
    with estate.watched(seconds=6):
        for number, repository in enumerate(repositories):
            name = f"r{number}"
            tenant.ours("GitRepo", evil, name, {"repoUri": repository.url})
            spec = sources(files=["*7", "docs/"])
            spec["sources"]["names"] = [name]
            tenant.ours("ScheduleTrigger", evil, name, spec | {"schedule": {"interval": "2s"}})
        wait_until("all were checked", lambda: _recorded(estate, last), timeout_s=60, every_s=0.5)
        last = [_push(each, 100 + seed) for seed, each in enumerate(repositories)]
        wait_until("all changes were seen", lambda: _recorded(estate, last), timeout_s=120, every_s=0.5)


def _push(repository, seed):
    """A commit with so many files whose blobs nobody has; gives its id."""
    chance = random.Random(seed)
    entries = b"".join(b"100644 file-%06d\0" % number + chance.randbytes(20) for number in range(_FILES))
    tree = git("hash-object", "-t", "tree", "--literally", "-w", "--stdin", cwd=repository.path, stdin=entries)
    return commit_tree(repository.path, tree)


def _recorded(estate, commits):
    status = [
        estate.api.trigger(estate.evil, f"r{n}", "ScheduleTrigger").get("status") or {} for n in range(len(commits))
    ]
    found = [(each.get("checkedSources") or {}).get(f"r{n}", {}).get("commitHash") for n, each in enumerate(status)]
    return found == commits
