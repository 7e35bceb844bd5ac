"""Items 5, 6 and 8: Secrets of a tenant whose bytes would cost minutes: private keys, keys of webhooks."""

import base64
import itertools

import pytest

from tests.adversary.conditions import problems
from tests.cluster.plane import wait_until
from tests.edges.git.hostilekeys import P, Q, openssh, rsa_pem
from tests.system.conftest import sources
from tests.system.sending import send

_TRIGGERS = 8


def secret(estate, name, **values):
    data = {key.replace("_", "-"): base64.b64encode(value).decode() for key, value in values.items()}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}
    estate.tenant.post(f"/api/v1/namespaces/{estate.evil}/secrets", body)


@pytest.mark.parametrize(
    ("text", "limit"),
    [(rsa_pem(P, Q), "git.sshKeyBits"), (openssh(0xFFFF_FFFF), "git.sshKeyRounds")],
    ids=["item 5: large known primes", "item 6: rounds of bcrypt"],
)
def test_items_5_and_6_a_private_key_that_costs_minutes(estate, text, limit):
    """The key is refused in the condition with the limit that it passes; the neighbour and the stop notice nothing."""
    replica = estate.start()
    tenant, evil = estate.tenant, estate.evil
    tenant.ours("Action", evil, "build", {"actionJob": {"command": ["true"]}})
    with estate.watched(seconds=6):
        for number in range(_TRIGGERS):
            name = f"k{number}"
            # Each text is another one: none profits of what is known of the others.
            secret(estate, name, ssh_privatekey=f"{text}# {number}\n".encode(), passphrase=b"pass")
            auth = {"type": "ssh", "secretRef": {"name": name}}
            tenant.ours("GitRepo", evil, name, {"repoUri": "ssh://git@127.0.0.1:1/x.git", "authConfig": auth})
            spec = sources()
            spec["sources"]["names"] = [name]
            tenant.ours("ScheduleTrigger", evil, name, spec | {"schedule": {"interval": "1s"}})
        found = wait_until("conditions of all", lambda: problems(estate, _TRIGGERS), timeout_s=60, every_s=0.5)
    assert {reason for reason, _ in found.values()} == {"SecretInvalid"}
    assert all(limit in text for _, text in found.values()), found
    assert replica.process.stop() == 0


@pytest.mark.parametrize("kind", ["header", "hmac", "standard-webhooks"])
def test_item_8_a_webhook_secret_of_thirty_thousand_keys(estate, kind):
    """Requests without a proof cost no digest for each of the keys, whatever the type of the proof is."""
    replica = estate.start()
    tenant, evil = estate.tenant, estate.evil
    secret(estate, "many", token="\n".join(f"key-{number}" for number in range(30_000)).encode())
    tenant.ours("Action", evil, "build", {"actionJob": {"command": ["true"]}})
    tenant.ours("GitRepo", evil, "app", {"repoUri": "http://127.0.0.1:1/x.git"})
    auth = {"type": kind, "secretRef": {"name": "many"}, "key": "token"}
    tenant.ours("WebhookTrigger", evil, "many", sources() | {"webhook": {"multiSource": True, "authConfig": auth}})
    headers = {
        "x-trigger-auth": "wrong",
        "x-signature": "0" * 64,
        "webhook-id": "1",
        "webhook-timestamp": "1",
        "webhook-signature": "v1,x",
    }
    wait_until("the trigger is known", lambda: send(replica, f"/{evil}/many", (headers, b"")).status != 404)
    answers = []
    with estate.watched(seconds=6):
        for _ in itertools.repeat(None, 10):
            answers.append(send(replica, f"/{evil}/many", (headers, b"x" * 250 * 1024)).status)
    assert set(answers) <= {401, 403, 404, 429, 500}, answers
