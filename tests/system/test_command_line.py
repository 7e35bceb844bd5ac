"""The verbs for operators on a real API server, with a real replica: the caller's kubeconfig, rights and rejections."""

import json
import os
import subprocess
import sys

import pytest

from tests.cluster.finisher import Finisher
from tests.cluster.plane import wait_until
from tests.system.conftest import sources

TRIGGER = "scheduletrigger/nightly"


@pytest.fixture
def ger(control_plane, installation):
    """Runs a verb with a token's kubeconfig."""

    def run(*words, token=control_plane.admin_token):
        config = control_plane.kubeconfig(token, namespace=installation)
        command = [sys.executable, "-m", "git_events_runner", *words, "--kubeconfig", str(config)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env={**os.environ})
        assert "Traceback" not in done.stderr
        assert "internal error" not in done.stderr
        return done

    return run


def test_from_a_trigger_to_its_run(world, installation, replicas, ger):
    """A trigger is shown, runs on request with the run's exit code, is suspended, and explained."""
    world.ours("ScheduleTrigger", installation, "nightly", sources() | {"schedule": {"interval": "1h"}})
    replica = replicas(0)
    wait_until("it leads", lambda: replica.leads)
    wait_until("the first run", lambda: world.jobs(installation, "nightly"))
    with Finisher(world, installation):
        done = ger("trigger", TRIGGER, "--run", "--wait", "--timeout", "60")
        assert (done.returncode, "Succeeded" in done.stderr) == (0, True), done.stderr
    [row] = json.loads(ger("status", "-o", "json").stdout)["items"]
    assert (row["result"], row["state"], row["problem"]) == ("Succeeded", "Idle", None)
    explained = ger("explain", TRIGGER, "--live", "--controller-namespace", installation)
    assert explained.returncode == 0, explained.stdout
    assert "replica-0 is the leader" in explained.stdout
    assert "JobSucceeded" in explained.stdout  # an Event, by its field selector
    assert explained.stdout.startswith("branch main is at the recorded commit ")
    assert ger("suspend", TRIGGER).returncode == 0
    assert ger("explain", TRIGGER).stdout.startswith("the trigger is suspended")
    assert ger("resume", TRIGGER).returncode == 0
    done = ger("logs", TRIGGER)
    assert (done.returncode, "its pod is deleted" in done.stderr) == (1, True), done.stderr
    done = ger("rerun", TRIGGER)
    assert done.returncode == 0


def test_doctor_and_check(world, installation, replicas, ger, tmp_path):
    """Doctor reads rights, definitions and the lease; check finds names that the cluster has."""
    replica = replicas(0)
    wait_until("it leads", lambda: replica.leads)
    url = f"http://127.0.0.1:{replica.hooks}/"
    items = json.loads(
        ger("doctor", "-o", "json", "--controller-namespace", installation, "--webhook-url", url).stdout
    )["items"]
    levels = {(one["topic"], one["level"]) for one in items}
    assert {("CRDs", "ok"), ("clock", "ok"), ("rights", "ok"), ("leader", "ok"), ("queue", "ok")} <= levels, items
    assert not [one for one in items if one["level"] == "problem"], items
    manifest = tmp_path / "trigger.json"
    spec = sources() | {"schedule": {"interval": "1h"}}
    trigger = {"apiVersion": "git-events-runner.rs/v1alpha1", "kind": "ScheduleTrigger", "metadata": {"name": "t"}}
    manifest.write_text(json.dumps({**trigger, "spec": spec}))
    done = ger("check", str(manifest))
    assert done.returncode == 0, done.stdout
    manifest.write_text(json.dumps({**trigger, "spec": {**spec, "action": {"kind": "Action", "name": "none"}}}))
    done = ger("check", str(manifest))
    assert (done.returncode, "no Action" in done.stdout) == (2, True), done.stdout


def test_without_rights(world, installation, ger):
    """A caller without a role gets 3, and what was refused; doctor reports which rights are missing."""
    for words in (["status"], ["explain", TRIGGER], ["trigger", TRIGGER], ["logs", TRIGGER], ["suspend", TRIGGER]):
        done = ger(*words, token="tenant-token")
        assert (done.returncode, "not allowed: " in done.stderr) == (3, True), done.stderr
    done = ger("doctor", token="tenant-token")
    assert "you may not: list triggers" in done.stdout
    done = ger("status", token="nobody")
    assert (done.returncode, "does not accept your credential" in done.stderr) == (3, True), done.stderr
