"""Item 20: what a tenant makes the controller hold: Secrets, and repositories within all limits."""

import base64
import random

from tests.adversary.servers import Canned, served
from tests.cluster.plane import wait_until
from tests.system.conftest import sources
from tests.system.sending import send

_SECRETS = 200
_BYTES = 700 * 1024
_REPOSITORIES = 5
_FILES = 120_000


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


def test_item_20_large_repositories(estate):
    """Five repositories with 120,000 files each change at the same time, and take the memory of one or two."""
    estate.start()
    tenant, evil = estate.tenant, estate.evil
    tenant.ours("Action", evil, "build", {"actionJob": {"command": ["true"]}})
    canned = Canned(*(_tree(seed) for seed in range(2)))
    with served(canned.serve) as url:
        for number in range(_REPOSITORIES):
            name = f"r{number}"
            tenant.ours("GitRepo", evil, name, {"repoUri": f"{url}/{number}"})
            spec = sources(files=["*7", "docs/"])
            spec["sources"]["names"] = [name]
            tenant.ours("ScheduleTrigger", evil, name, spec | {"schedule": {"interval": "2s"}})
        wait_until("all were checked", lambda: _recorded(estate, canned.commits[0]), timeout_s=60, every_s=0.5)
        with estate.watched(seconds=6):
            canned.shown = canned.commits[1]
        held = []

        def done():
            held.append(estate.replica.rss_mib())
            return _recorded(estate, canned.commits[1])

        wait_until("all changes were seen", done, timeout_s=240, every_s=0.2)
    assert max(held) < 300, max(held)


def _tree(seed):
    chance = random.Random(seed)
    return b"".join(b"100644 file-%06d\0" % number + chance.randbytes(20) for number in range(_FILES))


def _recorded(estate, commit):
    """Whether the triggers of all repositories have recorded the commit."""
    for number in range(_REPOSITORIES):
        status = estate.api.trigger(estate.evil, f"r{number}", "ScheduleTrigger").get("status") or {}
        if (status.get("checkedSources") or {}).get(f"r{number}", {}).get("commitHash") != commit:
            return False
    return True
