"""Item 20: what a tenant makes the controller hold: Secrets, and repositories within all limits."""

import base64

from tests.cluster.plane import wait_until
from tests.system.conftest import sources
from tests.system.sending import send

_SECRETS = 200
_BYTES = 700 * 1024


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
