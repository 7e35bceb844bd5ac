"""A source over SSH, from the first contact to a key that changed: real API server, real sshd, real replicas."""

import json
import subprocess
import sys

import pytest

from git_events_runner.resources.description import SOURCE_VARIABLE
from tests.cluster.api import OURS
from tests.cluster.plane import wait_until
from tests.servers import sshd as servers
from tests.system.conftest import sources

CONFIG = "git-events-runner-config"


@pytest.fixture
def sshd(tmp_path):
    try:
        server = servers.Sshd(tmp_path / "sshd", types=("ed25519", "ecdsa"))
    except servers.Unavailable as missing:
        pytest.skip(str(missing))
    yield server
    server.close()


@pytest.fixture
def over_ssh(world, installation, repository, sshd):
    """GitRepo `app` over SSH with its Secret, and a trigger that looks every second."""
    secret = {"metadata": {"name": "deploy"}, "stringData": {"ssh-privatekey": sshd.key.read_text()}}
    world.post(f"/api/v1/namespaces/{installation}/secrets", secret)
    spec = {
        "repoUri": sshd.url(repository.path),
        "authConfig": {"type": "ssh", "secretRef": {"name": "deploy"}},
    }
    world.delete(f"{OURS}/namespaces/{installation}/gitrepos/app")
    world.ours("GitRepo", installation, "app", spec)
    world.ours("ScheduleTrigger", installation, "every", sources() | {"schedule": {"interval": "1s"}})
    return world


def source(world, namespace):
    """Status of the source."""
    return world.get(f"{OURS}/namespaces/{namespace}/gitrepos/app").get("status") or {}


def condition(status, name="Ready"):
    """A condition of a status."""
    return next((each for each in status.get("conditions") or () if each["type"] == name), {})


def test_pin_run_refuse_accept(over_ssh, installation, repository, sshd, replicas, tmp_path):
    """The first key is pinned and the Job gets it; a changed one is refused everywhere until it is accepted by hand."""
    world = over_ssh
    for number in range(2):
        replicas(number)
    [job] = wait_until("the first Job", lambda: world.jobs(installation, "every"))
    pinned = source(world, installation)["hostKeys"]
    assert pinned == [sshd.line("ed25519")]
    assert condition(source(world, installation))["reason"] == "HostKeyPinned"
    [cloner] = job["spec"]["template"]["spec"]["initContainers"]
    described = json.loads(next(each["value"] for each in cloner["env"] if each["name"] == SOURCE_VARIABLE))
    assert described["ssh"] == {"knownHosts": pinned, "insecure": False}
    assert "PRIVATE KEY" not in json.dumps(job)

    # Another type beside the known one is no change.
    sshd.restart(types=("ecdsa", "ed25519"))
    repository.push({"README": "two\n"})
    wait_until("the second Job", lambda: len(world.jobs(installation, "every")) == 2)

    sshd.new_host_key("ed25519")
    sshd.restart(types=("ecdsa", "ed25519"))
    refused = wait_until(
        "the changed key is refused",
        lambda: (s := source(world, installation)) and condition(s)["reason"] == "HostKeyChanged" and s,
    )
    assert condition(refused, "Stalled")["status"] == "True"
    assert refused["hostKeys"] == pinned
    pushed = repository.push({"README": "three\n"})

    def told():
        status = world.trigger(installation, "every", kind="ScheduleTrigger").get("status") or {}
        return condition(status, "Stalled").get("reason") == "HostKeyChanged" and status

    message = condition(wait_until("the trigger says so", told))["message"]
    assert f"kubectl -n {installation} patch gitrepo app --subresource=status" in message
    [event] = wait_until("an Event", lambda: world.events(installation, "HostKeyChanged", kind="GitRepo"))
    assert event["type"] == "Warning"
    assert len(world.jobs(installation, "every")) == 2

    # The init container refuses too, with what the first Job was given.
    secrets = tmp_path / "mounted"
    secrets.mkdir()
    (secrets / "ssh-privatekey").write_text(sshd.key.read_text())
    command = [sys.executable, "-m", "git_events_runner.cloner", "-k", "GitRepo", "-s", "app", "-b", "main"]
    done = subprocess.run(
        [*command, "-d", str(tmp_path / "clone")],
        env={SOURCE_VARIABLE: json.dumps(described | {"secretDir": str(secrets)})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 5
    assert "has changed" in done.stderr

    # What the message says: remove the pinned key.
    world.patch(f"{OURS}/namespaces/{installation}/gitrepos/app/status", {"status": {"hostKeys": None}})
    wait_until("the third Job", lambda: len(world.jobs(installation, "every")) == 3, timeout_s=90)
    commits = {each["metadata"]["annotations"]["git-events-runner.rs/commit"] for each in world.jobs(installation)}
    assert pushed in commits
    accepted = source(world, installation)
    assert accepted["hostKeys"] == [sshd.line("ed25519")] != pinned
    assert condition(accepted)["status"] == "True"
    assert condition(accepted, "Stalled") == {}
    wait_until(
        "the trigger is well",
        lambda: condition(world.trigger(installation, "every", kind="ScheduleTrigger")["status"])["status"] == "True",
    )


def config(world, namespace, text):
    """Write the runtime config."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIG}, "data": {"runtimeConfig": text}}
    if any(each["metadata"]["name"] == CONFIG for each in world.items(path)):
        world.put(f"{path}/{CONFIG}", body)
    else:
        world.post(path, body)


def test_strict_known_hosts_and_insecure(over_ssh, installation, repository, sshd, replicas):
    """Strict refuses what is not known; known hosts of the installation let it pass; insecure says so, once."""
    world = over_ssh
    config(world, installation, "git: {hostKeys: strict}")
    replicas(0)
    wait_until("it is refused", lambda: condition(source(world, installation)).get("reason") == "HostKeyUnknown")
    assert world.jobs(installation) == []
    assert "hostKeys" not in source(world, installation)
    config(world, installation, json.dumps({"git": {"hostKeys": "strict", "knownHosts": sshd.line("ecdsa") + "\n"}}))
    [job] = wait_until("a Job", lambda: world.jobs(installation), timeout_s=90)
    assert sshd.line("ecdsa") in job["spec"]["template"]["spec"]["initContainers"][0]["env"][0]["value"]
    wait_until("the complaint ends", lambda: condition(source(world, installation)).get("status") == "True")

    config(world, installation, "git: {hostKeys: insecure}")
    sshd.new_host_key("ed25519")
    sshd.restart()
    repository.push({"README": "two\n"})
    wait_until("the second Job", lambda: len(world.jobs(installation)) == 2, timeout_s=90)
    [event] = wait_until("an Event", lambda: world.events(installation, "HostKeyNotChecked", kind="GitRepo"))
    assert event["type"] == "Warning"
    repository.push({"README": "three\n"})
    wait_until("the third Job", lambda: len(world.jobs(installation)) == 3, timeout_s=90)
    [event] = world.events(installation, "HostKeyNotChecked", kind="GitRepo")
    assert (event.get("series") or {}).get("count", 1) == 1


def test_a_source_that_only_a_job_asks(world, installation, repository, sshd, replicas):
    """The host key of an action's own source is pinned before its first Job, which gets it."""
    secret = {"metadata": {"name": "deploy"}, "stringData": {"ssh-privatekey": sshd.key.read_text()}}
    world.post(f"/api/v1/namespaces/{installation}/secrets", secret)
    auth = {"type": "ssh", "secretRef": {"name": "deploy"}}
    world.ours("GitRepo", installation, "tools", {"repoUri": sshd.url(repository.path), "authConfig": auth})
    override = {"kind": "GitRepo", "name": "tools", "reference": {"branch": "main"}}
    world.ours("Action", installation, "other", {"sourceOverride": override})
    spec = sources() | {"action": {"kind": "Action", "name": "other"}, "schedule": {"interval": "1s"}}
    world.ours("ScheduleTrigger", installation, "every", spec)
    replicas(0)
    [job] = wait_until("a Job", lambda: world.jobs(installation))
    described = json.loads(job["spec"]["template"]["spec"]["initContainers"][0]["env"][0]["value"])
    assert described["ssh"]["knownHosts"] == [sshd.line("ed25519")]
    assert world.get(f"{OURS}/namespaces/{installation}/gitrepos/tools")["status"]["hostKeys"] == [sshd.line("ed25519")]
