"""The life of branches, versions and pull requests on a real forge (Gitea), and what has to run of it."""

import base64

from tests.cluster.plane import wait_until
from tests.forges import deliveries as d
from tests.system.conftest import sources
from tests.system.sending import secret
from tests.system.test_references import runs

PULLS = ("pulls", "forks")
EVENTS = ("push", "create", "delete", "pull_request")


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


class Lifecycle:
    """A repository of the forge, triggers of it, and what ran."""

    def __init__(self, api, namespace, forge, *, timeout_s):
        self.api, self.namespace, self.forge, self.timeout_s = api, namespace, forge, timeout_s
        self.repository = forge.repository()
        self.first = self.repository.push({"README": "one\n"})

    def create(self, action):
        """The source, the Actions and the triggers."""
        self.api.ours("GitRepo", self.namespace, "app", {"repoUri": self.repository.url})
        for name in ("build", "teardown"):
            self.api.ours("Action", self.namespace, name, {"actionJob": action})
        secret(self.api, self.namespace, "forge", d.SECRET)
        watch(self.api, self.namespace, "pulls", {"pullRequests": {}})
        watch(self.api, self.namespace, "forks", {"pullRequests": {"from": "Any"}})
        often = {"schedule": {"interval": "2s"}}
        watch(self.api, self.namespace, "branches", {"branches": {"include": ["b/**"]}}, **often)
        versions = {"tags": {"include": ["v*"], "semver": ">=1 <2"}}
        watch(self.api, self.namespace, "versions", versions)  # git moves the tags of a push one by one

    def hook(self, url):
        """Let the forge deliver to the triggers below that URL."""
        for name in (*PULLS, "branches", "versions"):
            self.repository.hook(f"{url}/{self.namespace}/{name}", secret=d.SECRET, events=EVENTS)
        for trigger in ("branches", "versions"):
            self.wait("the first list", lambda trigger=trigger: self._listed(trigger))

    def _listed(self, trigger):
        status = self.api.trigger(self.namespace, trigger, "WebhookTrigger").get("status") or {}
        return ((status.get("checkedSources") or {}).get("app") or {}).get("listedAt")

    def ran(self, trigger):
        """Reference, number, commit and event of each run."""
        return [(key.partition("@")[2], *rest) for key, *rest in runs(self.api, self.namespace, trigger)]

    def wait(self, what, condition):
        """Wait for it."""
        wait_until(what, condition, timeout_s=self.timeout_s)

    def walk(self):
        """Open, push to, close and reopen pull requests; create, rename and delete branches; push 50 versions."""
        expected = self._pull_requests()
        self._branches()
        for minor in range(50):
            self.repository.git("tag", f"v1.{minor}.0", self.first)
        self.repository.push_refs("refs/tags/*:refs/tags/*")
        self.wait("the highest version", lambda: self.ran("versions"))
        assert self.ran("versions") == [("tags/v1.49.0", 1, self.first, "first")]
        assert self.ran("pulls") == expected  # and never the fork

    def _pull_requests(self):
        forge, repository = self.forge, self.repository
        one = repository.push({"a": "1\n"}, branch="topic")
        number = pull_request(forge, repository, "topic")
        mine = f"pull/{number}"
        expected = [(mine, 1, one, "first")]
        for trigger in PULLS:
            self.wait("the opening", lambda trigger=trigger: self.ran(trigger) == expected)
        two = repository.push({"a": "2\n"}, branch="topic")
        expected += [(mine, 2, two, "changed")]
        for trigger in PULLS:
            self.wait("the push", lambda trigger=trigger: self.ran(trigger) == expected)

        stranger = forge.user()
        fork = forge.api("POST", f"{repository.api_path}/forks", {}, account=stranger)["full_name"]
        content = {"content": base64.b64encode(b"evil\n").decode(), "message": "x", "new_branch": "evil"}
        made = forge.api("POST", f"/repos/{fork}/contents/evil", content, account=stranger)["commit"]["sha"]
        other = f"pull/{pull_request(forge, repository, f'{stranger.name}:evil', stranger)}"
        self.wait("the fork", lambda: (other, 1, made, "first") in self.ran("forks"))

        state(forge, repository, number, "closed")
        expected += [(mine, 3, two, "deleted")]
        self.wait("the closing", lambda: self.ran("pulls") == expected)
        state(forge, repository, number, "open")
        expected += [(mine, 4, two, "first")]
        self.wait("the reopening", lambda: self.ran("pulls") == expected)
        both = sorted([*expected, (other, 1, made, "first")])
        self.wait("the same, and the fork", lambda: sorted(self.ran("forks")) == both)
        return expected

    def _branches(self):
        branches = f"{self.repository.api_path}/branches"
        self.forge.api("POST", branches, {"new_branch_name": "b/one", "old_branch_name": "main"})
        found = [("heads/b/one", 1, self.first, "first")]
        self.wait("the branch", lambda: self.ran("branches") == found)
        self.forge.api("PATCH", f"{branches}/b/one", {"name": "b/two"})
        found += [("heads/b/one", 2, self.first, "deleted"), ("heads/b/two", 1, self.first, "first")]
        self.wait("the new name", lambda: self.ran("branches") == found)
        self.repository.delete_branch("b/two")
        found += [("heads/b/two", 2, self.first, "deleted")]
        self.wait("the deletion", lambda: self.ran("branches") == found)
