"""References by patterns, on a real API server with a real git server: created, moved, deleted, while replicas die."""

import random
import time

import pytest

from tests.cluster.finisher import Finisher
from tests.cluster.plane import wait_until
from tests.system.conftest import sources

PREFIX = "git-events-runner.rs/"
LISTS = {"references": {"branches": {"include": ["main", "b/**"]}}, "onDelete": {"kind": "Action", "name": "teardown"}}


def runs(world, namespace, trigger):
    """Key, number, commit and reason of each Job of a trigger."""
    found = []
    for job in world.jobs(namespace, trigger):
        notes = job["metadata"]["annotations"]
        _, _, rest = notes[f"{PREFIX}run"].partition("/")
        key, _, number = rest.rpartition("/")
        found.append((key, int(number), notes[f"{PREFIX}commit"], notes[f"{PREFIX}reason"].removeprefix("fire-")))
    return sorted(found)


def listed(world, namespace, trigger):
    """Whether the references of the trigger were listed."""
    kind = "WebhookTrigger" if trigger == "hook" else "ScheduleTrigger"
    status = world.trigger(namespace, trigger, kind).get("status") or {}
    return ((status.get("checkedSources") or {}).get("app") or {}).get("listedAt")


@pytest.mark.timeout(280)
def test_each_head_of_each_branch_runs_once_through_kills(world, installation, repository, replicas):
    """Two replicas, killed in turn: one run for each head of each branch, one `onDelete` for each deletion."""
    repository.push({"README": "one\n"})
    world.ours("Action", installation, "teardown", {"actionJob": {"command": ["true"]}})
    world.ours("ScheduleTrigger", installation, "poll", sources(**LISTS) | {"schedule": {"interval": "1s"}})
    hook = {"webhook": {"multiSource": True}}
    world.ours("WebhookTrigger", installation, "hook", sources(**LISTS) | hook)
    two = [replicas(0), replicas(1)]
    chance, heads, expected = random.Random(7), {}, []
    with Finisher(world, installation):
        for trigger in ("poll", "hook"):
            wait_until("the first list", lambda trigger=trigger: listed(world, installation, trigger), timeout_s=60)

        def settled():
            """Whether both triggers ran what is expected; with what they ran."""
            found = {trigger: runs(world, installation, trigger) for trigger in ("poll", "hook")}
            return all(
                [one[2:] for one in sorted(f, key=lambda run: run[2:])] == sorted(expected) for f in found.values()
            )

        for turn in range(6):
            gone = [name for name in list(heads) if chance.random() < 0.3]
            for name in gone:
                repository.git("update-ref", "-d", f"refs/heads/{name}")
                expected.append((heads.pop(name), "deleted"))
            for name in [f"b/{number}" for number in range(6) if chance.random() < 0.5]:
                if name in gone:
                    continue
                reason = "changed" if name in heads else "first"
                heads[name] = repository.push({"file": f"{turn} {name}\n"}, branch=name)
                expected.append((heads[name], reason))
            assert two[1 - turn % 2].post(f"/{installation}/hook") == 202
            if turn % 2:
                two[turn // 2 % 2].kill()
                two[turn // 2 % 2].restart()
                two[turn // 2 % 2].wait_ready()
            wait_until(f"the runs of turn {turn}", settled, timeout_s=100)
        time.sleep(3)  # nothing runs again
        assert settled()
        for trigger in ("poll", "hook"):
            numbers = {}
            for key, number, _, _ in runs(world, installation, trigger):
                assert number not in numbers.setdefault(key, set())
                numbers[key].add(number)


def test_fifty_tags_in_one_push_run_the_highest_version_alone(world, installation, repository, replicas):
    """All tags appear in one update; with a range the highest in it runs."""
    head = repository.push({"README": "one\n"})
    tags = {"references": {"tags": {"semver": "<2"}}}
    world.ours("ScheduleTrigger", installation, "poll", sources(**tags) | {"schedule": {"interval": "1s"}})
    replicas(0)
    wait_until("the first list", lambda: listed(world, installation, "poll"))
    lines = "".join(f"create refs/tags/v1.{number}.0 {head}\n" for number in range(49))
    repository.git("update-ref", "--stdin", stdin=f"start\n{lines}create refs/tags/v2.0.0 {head}\nprepare\ncommit\n")
    wait_until("the run", lambda: runs(world, installation, "poll"))
    time.sleep(3)  # no other one follows
    assert [(key, reason) for key, _, _, reason in runs(world, installation, "poll")] == [("app@tags/v1.48.0", "first")]
