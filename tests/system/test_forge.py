"""A real forge from end to end: Gitea delivers, git is read from it; each announced head runs once."""

import http.cookiejar
import re
import urllib.parse
import urllib.request

import pytest

from tests.cluster.finisher import Finisher
from tests.cluster.plane import wait_until
from tests.forges import deliveries as d
from tests.system.conftest import sources
from tests.system.sending import secret
from tests.system.test_faults import entry

COMMIT = "git-events-runner.rs/commit"


class Pages:
    """The forge's own pages, as a person who has logged in uses them."""

    def __init__(self, forge):
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener, self._url = urllib.request.build_opener(jar), forge.url
        self.post("/user/login", user_name=forge.admin.name, password=forge.admin.password)

    def get(self, path):
        with self._opener.open(self._url + path, timeout=30) as answer:
            return answer.read().decode()

    def post(self, path, **fields):
        with self._opener.open(self._url + path, urllib.parse.urlencode(fields).encode(), timeout=30) as answer:
            return answer.status


def trigger(api, namespace, name, repo, auth, *, match=True, **watch):
    """A trigger of one repository with the forge's secret."""
    api.ours("GitRepo", namespace, name, {"repoUri": repo.url})
    spec = sources(**watch)
    spec["sources"] = spec["sources"] | {"names": [name]}
    config = {"secretRef": {"name": "forge"}, "key": "token", "type": auth}
    spec["webhook"] = {"multiSource": True, "matchRepository": match, "authConfig": config}
    api.ours("WebhookTrigger", namespace, name, spec)


def ran(api, namespace, name):
    """The commits that ran for a trigger."""
    return [job["metadata"]["annotations"][COMMIT] for job in api.jobs(namespace, name)]


def log_count(replicas, event):
    """How many lines of an event the replicas wrote."""
    return sum(replica.process.text().count(f'"event":"{event}"') for replica in replicas)


@pytest.mark.timeout(280)
def test_each_head_that_gitea_announces_runs_once(api, installation, forge, replicas):
    """Hooks of an organisation to two replicas: pushes, tag, deletion, redelivery, restarts of both sides."""
    organization = forge.organization()
    first, second = forge.repository(organization), forge.repository(organization)
    api.ours("Action", installation, "build", {"actionJob": {"command": ["true"]}})
    secret(api, installation, "forge", d.SECRET)
    trigger(api, installation, "first", first, "gitea")
    trigger(api, installation, "second", second, "gitea")
    trigger(api, installation, "tagged", first, "gitea", reference={"tag": "v1"})
    both = [replicas(0), replicas(1)]
    hooks = [
        forge.organization_hook(
            organization,
            f"http://127.0.0.1:{replica.hooks}/{installation}",
            secret=d.SECRET,
            events=("push", "create", "delete"),
        )
        for replica in both
    ]
    with Finisher(api, installation):
        heads = [first.push({"README": "one\n"})]
        wait_until("a push of the first", lambda: ran(api, installation, "first") == heads)
        others = [second.push({"README": "other\n"})]
        wait_until("a push of the second", lambda: ran(api, installation, "second") == others)
        assert ran(api, installation, "first") == heads

        first.tag("v1", annotated=True)
        wait_until("the tag", lambda: ran(api, installation, "tagged") == heads)

        first.push({"README": "branch\n"}, branch="side")
        ignored = log_count(both, "webhook.ignored")
        first.delete_branch("side")
        wait_until("the deletion is ignored", lambda: log_count(both, "webhook.ignored") >= ignored + 2)

        pair = [first.push({"README": "two\n"}), first.push({"README": "three\n"})]
        wait_until("two pushes at once", lambda: ran(api, installation, "first")[-1:] == pair[1:])
        heads += [commit for commit in pair if commit in ran(api, installation, "first")]

        pages = Pages(forge)
        page = f"/org/{organization.name}/settings/hooks/{hooks[0]}"
        accepted = log_count(both, "webhook.accepted") + log_count(both, "webhook.ignored")
        for delivery in re.findall(r"/replay/([0-9a-f-]{36})", pages.get(page)):
            assert pages.post(f"{page}/replay/{delivery}") == 200
        wait_until(
            "the redeliveries",
            lambda: log_count(both, "webhook.accepted") + log_count(both, "webhook.ignored") > accepted + 5,
        )

        forge.restart()
        heads.append(first.push({"README": "four\n"}))
        wait_until("a push after the forge's restart", lambda: ran(api, installation, "first")[-1] == heads[-1])

        for replica in both:
            replica.terminate()
            assert replica.process.wait() == 0
            replica.restart()
        for replica in both:
            replica.wait_ready()
        heads.append(first.push({"README": "five\n"}))
        wait_until("a push after ours", lambda: ran(api, installation, "first")[-1] == heads[-1], timeout_s=60)

        def answered():
            found = [entry(api, installation, name, source=name) for name in ("first", "second", "tagged")]
            return all(each["handled"] == each["requested"] for each in found)

        wait_until("everything is answered", answered, timeout_s=90)
    assert ran(api, installation, "first") == heads
    assert ran(api, installation, "second") == others
    assert ran(api, installation, "tagged") == heads[:1]
    assert not any("Traceback" in replica.process.text() for replica in both)


def test_one_delivery_of_gitea_is_good_for_three_types(api, installation, forge, replicas):
    """`gitea`, `github` and `hmac` (by Gitea's own header) verify the same request, also as a form."""
    repo = forge.repository()
    api.ours("Action", installation, "build", {"actionJob": {"command": ["true"]}})
    secret(api, installation, "forge", d.SECRET)
    for auth in ("gitea", "github"):
        trigger(api, installation, auth, repo, auth, match=False)
    api.ours("GitRepo", installation, "hmac", {"repoUri": repo.url})
    spec = sources() | {"webhook": {"multiSource": True}}
    spec["sources"] = spec["sources"] | {"names": ["hmac"]}
    spec["webhook"]["authConfig"] = {
        "secretRef": {"name": "forge"},
        "key": "token",
        "type": "hmac",
        "header": "X-Gitea-Signature",
    }
    api.ours("WebhookTrigger", installation, "hmac", spec)
    replica = replicas(0)
    for name in ("gitea", "github", "hmac"):
        repo.hook(f"http://127.0.0.1:{replica.hooks}/{installation}/{name}", secret=d.SECRET)
    repo.hook(f"http://127.0.0.1:{replica.hooks}/{installation}/gitea/gitea", secret=d.SECRET, content_type="form")
    repo.hook(f"http://127.0.0.1:{replica.hooks}/{installation}/gitea", secret="another secret of the house")
    head = repo.push({"README": "one\n"})
    for name in ("gitea", "github", "hmac"):
        wait_until(f"the Job of {name}", lambda name=name: ran(api, installation, name) == [head])
    wait_until("all deliveries", lambda: log_count([replica], "webhook.accepted") == 4)
    wait_until("the wrong secret", lambda: log_count([replica], "webhook.rejected") == 1)
    assert entry(api, installation, "gitea", source="gitea")["requested"] == 2
