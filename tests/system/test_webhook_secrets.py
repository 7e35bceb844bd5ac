"""Webhook Secrets that are missing, and an API server that cannot give them, through the real process."""

import time

from tests.cluster.plane import wait_until
from tests.forges import deliveries as d
from tests.system.conftest import sources
from tests.system.sending import Door, secret, send
from tests.system.test_faults import condition


def hook(api, namespace, name="hook"):
    """A webhook trigger of GitHub's type, whose Secret has its name."""
    auth = {"type": "github", "secretRef": {"name": name}, "key": "token"}
    api.ours("WebhookTrigger", namespace, name, sources() | {"webhook": {"multiSource": True, "authConfig": auth}})


def test_a_trigger_without_a_usable_secret_is_not_ready_until_it_has_one(world, installation, repository, replicas):
    """With an Event; found at the trigger's creation, and by a delivery when the Secret is deleted later."""
    replica = replicas(0, "--secrets-cache-time", "1")
    hook(world, installation)
    found = wait_until(
        "the condition",
        lambda: (c := condition(world, installation, "hook")).get("reason") == "SecretNotFound" and c,
    )
    assert found["status"] == "False"
    assert f"Secret {installation}/hook does not exist" in found["message"]
    wait_until("its Event", lambda: world.events(installation, "SecretNotFound"))
    secret(world, installation, "hook", d.SECRET)
    wait_until("it is ready", lambda: condition(world, installation, "hook").get("status") == "True", timeout_s=90)
    delivery = d.github(after=repository.head(), url=repository.url)
    assert send(replica, f"/{installation}/hook", delivery).status == 202
    wait_until("its Job", lambda: len(world.jobs(installation)) == 1)
    world.delete(f"/api/v1/namespaces/{installation}/secrets/hook")
    time_out = time.monotonic() + 30
    while send(replica, f"/{installation}/hook", delivery).status != 500:
        assert time.monotonic() < time_out, "the Secret is still used"
    wait_until(
        "it is not ready again",
        lambda: condition(world, installation, "hook").get("reason") == "SecretNotFound",
        timeout_s=30,
    )
    secret(world, installation, "hook", d.SECRET)
    wait_until(
        "it accepts", lambda: send(replica, f"/{installation}/hook", delivery).status in {200, 202}, timeout_s=30
    )
    wait_until("it is ready", lambda: condition(world, installation, "hook").get("status") == "True", timeout_s=90)


def test_signed_deliveries_get_503_while_the_api_server_is_away(
    world, installation, repository, replicas, control_plane
):
    """Never 500, whether the Secret was read before or not; the same delivery is accepted once it is back."""
    door = Door(control_plane.port)
    names = ("read", "unread")
    try:
        for name in names:
            secret(world, installation, name, d.SECRET)
            hook(world, installation, name)
        server = {"server": f"https://127.0.0.1:{door.port}"}
        replica = replicas(0, "--secrets-cache-time", "1", server=server)
        for name in names:
            wait_until("it is ready", lambda name=name: condition(world, installation, name).get("status") == "True")
        first = d.github(after=repository.head(), url=repository.url)
        assert send(replica, f"/{installation}/read", first).status == 202
        wait_until("its Job", lambda: len(world.jobs(installation)) == 1)
        door.shut()
        delivery = d.github(after=repository.push({"README": "away\n"}), url=repository.url)
        until, answers = time.monotonic() + 10, {name: [] for name in names}
        while time.monotonic() < until or not answers["unread"]:
            for name in reversed(names):
                answers[name].append(send(replica, f"/{installation}/{name}", delivery))
        assert {answer.status for name in names for answer in answers[name]} == {503}
        assert all(int(answer.headers["retry-after"]) >= 1 for name in names for answer in answers[name])
        assert any("secret" in answer.body["message"] for answer in answers["unread"])
        assert not any("secret" in answer.body["message"] for answer in answers["read"])
        door.reopen()
        for name in names:
            wait_until(
                "it is accepted",
                lambda name=name: send(replica, f"/{installation}/{name}", delivery).status in {200, 202},
                timeout_s=60,
                every_s=0.5,
            )
        wait_until("their Jobs", lambda: len(world.jobs(installation)) == 3, timeout_s=60)
    finally:
        door.close()
