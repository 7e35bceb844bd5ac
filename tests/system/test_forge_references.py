"""Branches, versions and pull requests of a real forge: Gitea delivers, git is read from it."""

import base64

import pytest

from tests.cluster.finisher import Finisher
from tests.cluster.plane import wait_until
from tests.forges import deliveries as d
from tests.system.conftest import sources
from tests.system.sending import secret
from tests.system.test_references import runs

PULLS = ("pulls", "forks")


def watch(api, namespace, name, references, **spec):
    """A trigger of the repository with the forge's secret."""
    found = sources(references=references, onDelete={"kind": "Action", "name": "teardown"}) | spec
    auth = {"secretRef": {"name": "forge"}, "key": "token", "type": "gitea"}
    api.ours("WebhookTrigger", namespace, name, found | {"webhook": {"multiSource": True, "authConfig": auth}})


def pull_request(forge, repository, head, account=None):
    """Open a pull request; its number."""
    body = {"head": head, "base": "main", "title": head}
    return forge.api("POST", f"{repository.api_path}/pulls", body, account=account or "admin")["number"]


def state(forge, repository, number, value):
    """Close or reopen one."""
    forge.api("PATCH", f"{repository.api_path}/pulls/{number}", {"state": value})


@pytest.mark.timeout(290)
def test_what_a_forge_opens_pushes_renames_and_closes_runs_once(api, installation, forge, replicas):
    """Each head of a pull request runs once, a closing runs `onDelete` once, a fork only where forks are accepted."""
    repository = forge.repository()
    first = repository.push({"README": "one\n"})
    api.ours("GitRepo", installation, "app", {"repoUri": repository.url})
    for action in ("build", "teardown"):
        api.ours("Action", installation, action, {"actionJob": {"command": ["true"]}})
    secret(api, installation, "forge", d.SECRET)
    watch(api, installation, "pulls", {"pullRequests": {}})
    watch(api, installation, "forks", {"pullRequests": {"from": "Any"}})
    often = {"schedule": {"interval": "2s"}}
    watch(api, installation, "branches", {"branches": {"include": ["b/**"]}}, **often)
    watch(
        api, installation, "versions", {"tags": {"include": ["v*"], "semver": ">=1 <2"}}
    )  # git moves the tags of a push one by one
    replica = replicas(0)
    for name in (*PULLS, "branches", "versions"):
        url = f"http://127.0.0.1:{replica.hooks}/{installation}/{name}"
        repository.hook(url, secret=d.SECRET, events=("push", "create", "delete", "pull_request"))

    def told(trigger):
        return [(key.partition("@")[2], *rest) for key, *rest in runs(api, installation, trigger)]

    def listed(trigger):
        status = api.trigger(installation, trigger, "WebhookTrigger").get("status") or {}
        return ((status.get("checkedSources") or {}).get("app") or {}).get("listedAt")

    with Finisher(api, installation):
        for trigger in ("branches", "versions"):
            wait_until("the first list", lambda trigger=trigger: listed(trigger), timeout_s=60)

        one = repository.push({"a": "1\n"}, branch="topic")
        number = pull_request(forge, repository, "topic")
        mine = f"pull/{number}"
        expected = [(mine, 1, one, "first")]
        for trigger in PULLS:
            wait_until("the opening", lambda trigger=trigger: told(trigger) == expected, timeout_s=60)
        two = repository.push({"a": "2\n"}, branch="topic")
        expected += [(mine, 2, two, "changed")]
        for trigger in PULLS:
            wait_until("the push", lambda trigger=trigger: told(trigger) == expected, timeout_s=60)

        stranger = forge.user()
        fork = forge.api("POST", f"{repository.api_path}/forks", {}, account=stranger)["full_name"]
        content = {"content": base64.b64encode(b"evil\n").decode(), "message": "x", "new_branch": "evil"}
        made = forge.api("POST", f"/repos/{fork}/contents/evil", content, account=stranger)["commit"]["sha"]
        other = f"pull/{pull_request(forge, repository, f'{stranger.name}:evil', stranger)}"
        wait_until("the fork", lambda: (other, 1, made, "first") in told("forks"), timeout_s=60)

        state(forge, repository, number, "closed")
        expected += [(mine, 3, two, "deleted")]
        wait_until("the closing", lambda: told("pulls") == expected, timeout_s=60)
        state(forge, repository, number, "open")
        expected += [(mine, 4, two, "first")]
        wait_until("the reopening", lambda: told("pulls") == expected, timeout_s=60)
        both = sorted([*expected, (other, 1, made, "first")])
        wait_until("the same, and the fork", lambda: sorted(told("forks")) == both, timeout_s=60)

        branches = f"{repository.api_path}/branches"
        forge.api("POST", branches, {"new_branch_name": "b/one", "old_branch_name": "main"})
        found = [("heads/b/one", 1, first, "first")]
        wait_until("the branch", lambda: told("branches") == found, timeout_s=60)
        forge.api("PATCH", f"{branches}/b/one", {"name": "b/two"})
        found += [("heads/b/one", 2, first, "deleted"), ("heads/b/two", 1, first, "first")]
        wait_until("the new name", lambda: told("branches") == found, timeout_s=60)
        repository.delete_branch("b/two")
        found += [("heads/b/two", 2, first, "deleted")]
        for minor in range(50):
            repository.git("tag", f"v1.{minor}.0", first)
        repository.push_refs("refs/tags/*:refs/tags/*")
        wait_until("the deletion", lambda: told("branches") == found, timeout_s=60)
        wait_until("the highest version", lambda: told("versions"), timeout_s=60)
        assert told("versions") == [("tags/v1.49.0", 1, first, "first")]
        assert told("pulls") == expected  # and never the fork
