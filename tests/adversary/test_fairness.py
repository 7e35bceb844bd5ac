"""Items 15, 16, 18, 19: a tenant who takes all that namespaces share finds that the others have their turns."""

import base64
import contextlib
import http.client
import time

import pytest

from tests.adversary.forge import serving
from tests.cluster.api import OURS
from tests.cluster.plane import wait_until
from tests.system.conftest import sources

EVENTS = "/apis/events.k8s.io/v1/namespaces/{}/events"


@pytest.fixture
def forge():
    """A git server of canned answers."""
    with serving() as found:
        yield found


def repository(estate, name, url, **more):
    estate.tenant.ours("GitRepo", estate.evil, name, {"repoUri": url, **more})


def trigger(estate, name, source, *, kind="ScheduleTrigger", action="build", **more):
    spec = sources()
    spec["sources"] = spec["sources"] | {"names": [source]}
    spec["action"] = {"kind": "Action", "name": action}
    estate.tenant.ours(kind, estate.evil, name, spec | more)


def move_neighbour(estate, url):
    """The neighbour's repository is on the attacked server, too."""
    path = f"{OURS}/namespaces/{estate.good}/gitrepos/app"
    estate.api.patch(path, {"spec": {"repoUri": url}})


def call(estate, name):
    connection = http.client.HTTPConnection("127.0.0.1", estate.replica.hooks, timeout=10)
    with contextlib.closing(connection):
        connection.request("POST", f"/{estate.evil}/{name}", b"{}")
        return connection.getresponse().status


def test_item_15_a_slow_git_server_delays_no_neighbour(estate, forge):
    """64 schedules and 32 webhooks of a tenant whose server answers rightly after 15 s take no neighbour's slots."""
    estate.start()
    estate.tenant.ours("Action", estate.evil, "build", {"actionJob": {"command": ["true"]}})
    for number in range(96):
        repository(estate, f"r{number}", f"{forge.url}/slow/{number}")
    for number in range(64):
        trigger(estate, f"s{number}", f"r{number}", schedule={"interval": "5s"})
    for number in range(64, 96):
        trigger(estate, f"w{number}", f"r{number}", kind="WebhookTrigger", webhook={"multiSource": True})
    with estate.watched(seconds=22):
        for _ in range(4):
            assert {call(estate, f"w{number}") for number in range(64, 96)} <= {202, 429}
            time.sleep(4)
    assert len({path for path, _ in forge.asked}) >= 16


def test_item_16_a_host_that_is_busy_with_a_tenant_serves_its_neighbour(estate, forge):
    """A 429 to his token, slow repositories and a hundred schedules of a second leave the host to the neighbour."""
    move_neighbour(estate, f"{forge.url}/good")
    estate.start()
    estate.tenant.ours("Action", estate.evil, "build", {"actionJob": {"command": ["true"]}})
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "robot"}}
    data = {"token": base64.b64encode(b"Bearer evil").decode()}
    estate.tenant.post(f"/api/v1/namespaces/{estate.evil}/secrets", secret | {"data": data})
    auth = {"authConfig": {"type": "token", "secretRef": {"name": "robot"}}}
    forge.limited.add("Bearer evil")
    repository(estate, "limited", f"{forge.url}/evil", **auth)
    trigger(estate, "limited", "limited", schedule={"interval": "1s"})
    for number in range(32):
        repository(estate, f"slow{number}", f"{forge.url}/slow/{number}")
        trigger(estate, f"slow{number}", f"slow{number}", schedule={"interval": "1s"})
    for number in range(100):
        repository(estate, f"fast{number}", f"{forge.url}/fast/{number}")
        trigger(estate, f"fast{number}", f"fast{number}", schedule={"interval": "1s"})
    with estate.watched(seconds=20):
        wait_until("the attacker's token is refused", lambda: any(token for _, token in forge.asked), timeout_s=20)
    assert sum(token == "Bearer evil" for _, token in forge.asked) <= 3


def test_item_18_a_change_touches_only_what_names_it(estate):
    """With a minimum interval, 300 schedules and a label changed ten times a second cost the neighbour no time."""
    estate.configure("policy: {minimumIntervalSeconds: 2}")
    estate.start()
    repository(estate, "one", "http://git.invalid/one")
    for number in range(300):  # without their action they are only validated, in the leader's loop
        trigger(estate, f"s{number}", "one" if number == 0 else "none", action="none", schedule={"cron": "0 3 1 * *"})
    path = f"{OURS}/namespaces/{estate.evil}/gitrepos/one"
    with estate.watched(seconds=8):
        for number in range(60):
            estate.tenant.patch(path, {"metadata": {"labels": {"changed": str(number)}}})
            time.sleep(0.1)
    assert estate.replica.leads


def test_item_19_events_of_a_tenant_displace_none_of_a_neighbour(estate):
    """While 600 Events of one tenant wait, the neighbour's are published in their turns."""
    estate.start()
    secret = {"name": "robot", "namespace": "elsewhere"}
    for number in range(600):
        auth = {"type": "token", "secretRef": secret}
        repository(estate, f"r{number}", f"http://git.invalid/{number}", authConfig=auth)

    def published(namespace):
        return len(estate.api.items(EVENTS.format(namespace)))

    with estate.watched(seconds=10):
        wait_until("Events of the attacker", lambda: published(estate.evil), timeout_s=20)
        evil, good = published(estate.evil), published(estate.good)
        time.sleep(8)
        new = published(estate.good) - good, published(estate.evil) - evil
    assert published(estate.evil) < 600, "the attack is over too soon to be one"
    assert min(new) >= 15, new
