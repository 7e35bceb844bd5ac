"""Runs that people request with kubectl, and triggers that they suspend, on a real API server."""

import contextlib
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cluster.api import OURS, Refused
from tests.cluster.finisher import Finisher
from tests.cluster.plane import wait_until
from tests.system.conftest import sources

_GROUP = "git-events-runner.rs"
_VERDICTS = "git_events_runner_check_verdicts_total"


def _path(installation, name, kind="webhooktriggers"):
    return f"{OURS}/namespaces/{installation}/{kind}/{name}"


def _annotate(api, path, **annotations):
    return api.patch(
        path, {"metadata": {"annotations": {f"{_GROUP}/{name}": value for name, value in annotations.items()}}}
    )


def _entry(world, installation, name, kind="WebhookTrigger"):
    status = world.trigger(installation, name, kind).get("status") or {}
    return (status.get("checkedSources") or {}).get("app") or {}


def test_500_requests_to_a_suspended_trigger_are_one_run_when_it_is_resumed(world, installation, replicas):
    """202 for each, nothing runs; then one check for all of them, and nothing is lost."""
    spec = sources() | {"webhook": {"multiSource": True}, "suspend": True}
    world.ours("WebhookTrigger", installation, "hook", spec)
    replica = replicas(0)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: replica.post(f"/{installation}/hook"), range(500)))
    assert set(answers) == {202}
    assert world.jobs(installation, "hook") == []
    assert _entry(world, installation, "hook")["requested"] == 500
    assert replica.metric(_VERDICTS + '{verdict="suspended"}') > 0
    world.patch(_path(installation, "hook"), {"spec": {"suspend": False}})
    wait_until("all are handled", lambda: _entry(world, installation, "hook")["handled"] == 500)
    assert len(world.jobs(installation, "hook")) == 1


def test_a_suspended_schedule_checks_nothing_and_once_when_it_is_resumed(world, installation, repository, replicas):
    """What was pushed meanwhile runs after it; a person's run comes meanwhile."""
    spec = sources() | {"schedule": {"interval": "1s"}, "suspend": True}
    world.ours("ScheduleTrigger", installation, "every", spec)
    replica = replicas(0)
    path = _path(installation, "every", "scheduletriggers")
    wait_until("the replica leads", lambda: replica.leads)
    _annotate(world, path, **{"run-requested-at": "now"})
    [job] = wait_until("the run", lambda: world.jobs(installation, "every"))
    assert job["metadata"]["annotations"][f"{_GROUP}/run-requested-at"] == "now"
    wait_until("its check is over", lambda: replica.metric(_VERDICTS + '{verdict="fire-requested"}') == 1)
    pushed = repository.push({"README": "two\n"})
    _annotate(world, path, **{"requested-at": "later"})
    wait_until("the check is not made", lambda: replica.metric(_VERDICTS + '{verdict="suspended"}') >= 1)
    assert len(world.jobs(installation, "every")) == 1
    world.patch(path, {"spec": {"suspend": False}})
    wait_until("the second Job", lambda: len(world.jobs(installation, "every")) == 2)
    assert pushed in {job["metadata"]["annotations"][f"{_GROUP}/commit"] for job in world.jobs(installation)}


@pytest.mark.parametrize("seed", [1, 2])
def test_each_token_is_one_run_under_kills_and_twenty_annotators(world, installation, replicas, seed):
    """Each token is written by twenty people, while either replica is killed and started again, four times or more."""
    world.ours("WebhookTrigger", installation, "hook", sources() | {"webhook": {"multiSource": True}})
    pair = [replicas(0), replicas(1)]
    path = _path(installation, "hook")
    chance, over, kills = random.Random(seed), threading.Event(), []

    def kill():
        while not over.wait(chance.uniform(0.0, 1.5)):
            one = chance.choice(pair)
            one.kill()
            one.restart()
            kills.append(one)
            while one.get("/ready")[0] != 200 and not over.wait(0.1):
                pass

    def handled(token):
        status = world.trigger(installation, "hook").get("status") or {}
        entry = (status.get("checkedSources") or {}).get("app") or {}
        same = status.get("lastHandledRunRequestedAt") == token
        return same and entry.get("runRequested") == entry.get("runHandled")

    def annotate(token):
        with contextlib.suppress(Refused):  # 409, where twenty write at one time; what counts is that it is there
            _annotate(world, path, **{"run-requested-at": token})

    tokens = []
    killer = threading.Thread(target=kill, daemon=True)
    with Finisher(world, installation), ThreadPoolExecutor(20) as pool:
        killer.start()
        while len(tokens) < 8 or len(kills) < 4:
            token = f"token-{len(tokens):03}"
            tokens.append(token)
            list(pool.map(annotate, [token] * 20))
            wait_until(f"the run of {token}", lambda token=token: handled(token), timeout_s=120)
        over.set()
        killer.join()
        noted = [job["metadata"]["annotations"] for job in world.jobs(installation, "hook")]
    assert sorted(one[f"{_GROUP}/run-requested-at"] for one in noted) == tokens
    assert {one[f"{_GROUP}/reason"] for one in noted} == {"fire-requested"}
