"""From a push to a finished pod: what the worker has, and what it has not."""

import json
import socket

import pytest

from git_events_runner.resources.description import SECRET_DIR
from git_events_runner.rules.jobs.manifest import TOKEN_FOLDER
from tests.cluster.api import Refused
from tests.cluster.plane import wait_until
from tests.e2e.cluster import BATCH, PASSWORD
from tests.e2e.node import ADDRESS
from tests.e2e.processes import contents, mounted, process

_TOKEN = b"eyJhbGciOi"  # how a JSON Web Token begins
_LOOK = """
env | sort; echo ---files
cat README run.sh sub/file; touch mine sub/mine && echo wrote
find / -xdev \\( -name .git -o -path '*git-events-runner/source*' -o -path '/run/secrets/*' \\) 2>/dev/null
echo ---processes
for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; tr '\\0' ' ' <$p/environ; echo; done 2>/dev/null
echo ---done
"""


@pytest.fixture(scope="module")
def job(cluster, release, repository, credential):
    """A finished Job of a webhook, in a namespace that enforces `restricted`."""
    source = {"repoUri": repository.url, "authConfig": {"type": "basic", "secretRef": {"name": "git"}}}
    cluster.api.ours("GitRepo", "team", "app", source)
    cluster.api.ours("Action", "team", "look", {"actionJob": {"command": ["/bin/sh", "-c", _LOOK]}})
    cluster.hook("team", "push", ("GitRepo", "app"), ("Action", "look"))
    return cluster.run("team", "push")


def test_a_webhook_becomes_a_finished_pod_with_the_commit(cluster, repository, job):
    """The worker finds the files of the commit, may write among them, and has the contract's variables."""
    text = cluster.printed(job)
    assert "one\necho from the repository\nx\n" in text
    assert "wrote" in text
    for line in (
        "ACTION_JOB_TRIGGER_KIND=WebhookTrigger",
        "ACTION_JOB_TRIGGER_NAME=push",
        "ACTION_JOB_TRIGGER_SOURCE_KIND=GitRepo",
        "ACTION_JOB_TRIGGER_SOURCE_NAME=app",
        "ACTION_JOB_TRIGGER_SOURCE_NAMESPACE=team",
        f"ACTION_JOB_TRIGGER_SOURCE_COMMIT={repository.head()}",
        "ACTION_JOB_TRIGGER_SOURCE_REF_TYPE=branch",
        "ACTION_JOB_TRIGGER_SOURCE_REF_NAME=main",
        "ACTION_JOB_WORKDIR=/action_workdir",
    ):
        assert line in text


def test_no_credential_is_where_the_worker_could_see_it(cluster, job):
    """Not in variables, files or the process list, no Secret mounted, no .git; the log ends, so all was looked at."""
    text = cluster.printed(job)
    assert "---done" in text
    assert PASSWORD not in text
    found = text.partition("---files")[2].partition("---processes")[0].splitlines()
    assert [line for line in found if line.startswith("/run/secrets/")]  # the account's token: it was searched
    assert not [line for line in found if line.endswith("/.git") or "/run/git-events-runner/" in line]
    mounts = cluster.pod(job)["spec"]["containers"][0]["volumeMounts"]
    assert "git-events-runner-source" not in {mount["name"] for mount in mounts}


def test_no_token_is_in_the_init_container(cluster, job):
    """What it mounts is the working directory, the list of changed files and its source's Secret."""
    pod = cluster.pod(job)["spec"]
    assert pod["automountServiceAccountToken"] is False
    names = {mount["name"] for mount in pod["initContainers"][0]["volumeMounts"]}
    assert names == {"action-workdir", "git-events-runner-changes", "git-events-runner-source"}
    assert PASSWORD not in json.dumps(pod)


def test_no_token_is_in_the_running_init_container(cluster, release, repository, credential):
    """As the host sees it while it waits for a server that says nothing; in a worker the same look finds the token."""
    with socket.create_server((ADDRESS, 0)) as silent:
        auth = {"type": "basic", "secretRef": {"name": "git"}}
        url = f"http://{ADDRESS}:{silent.getsockname()[1]}/silent.git"
        cluster.api.ours("GitRepo", "team", "silent", {"repoUri": url, "authConfig": auth})
        override = {"kind": "GitRepo", "name": "silent", "reference": {"branch": "main"}}
        cluster.api.ours("Action", "team", "waits", {"sourceOverride": override})
        cluster.api.ours("Action", "team", "works", {"actionJob": {"command": ["sleep", "1001"]}})
        for name in ("waits", "works"):
            cluster.hook("team", f"it-{name}", ("GitRepo", "app"), ("Action", name))
            wait_until("the call is taken", lambda name=name: cluster.webhook(release, f"/team/it-{name}")[0] == 202)
        cloner, worker = (
            wait_until(f"the process {words[0]}", lambda words=words: process(*words), timeout_s=60)
            for words in (("gitrepo-cloner", "silent"), ("sleep", "1001"))
        )
        assert _places(cloner) == {"/action_workdir", "/git-events-runner", SECRET_DIR}
        texts = [(cloner / "environ").read_bytes(), *contents(cloner)]
        assert any(PASSWORD.encode() in text for text in texts), "the credential was seen, so all was looked at"
        assert not [text for text in texts if _TOKEN in text]
        assert TOKEN_FOLDER in _places(worker)
        assert [text for text in contents(worker) if _TOKEN in text]
        for name in ("waits", "works"):
            [found] = cluster.api.jobs("team", f"it-{name}")
            cluster.api.delete(f"{BATCH}/namespaces/team/jobs/{found['metadata']['name']}")


def _places(folder):
    return {f"/var{place}" if place.startswith("/run/") else place for place in mounted(folder)}


def test_the_cloner_is_fast_for_a_small_repository(cluster, job):
    """By its own clock; the figure is printed, the bound is for loaded machines."""
    line = cluster.printed(job, "action-cloner").strip().splitlines()[-1]
    print(line)
    assert float(line.removesuffix(" s").rpartition(" ")[2]) <= 5.0


def test_the_workers_account_can_do_nothing_until_a_role_is_bound(cluster, release, credential, job):
    """The worker's kubectl is refused, and works after binding; the account is the chart's."""
    script = (
        "kubectl get configmaps -n team >/dev/null 2>&1 && echo may || echo may-not; cat /run/secrets/*/*/namespace"
    )
    cluster.api.ours("Action", "team", "ask", {"actionJob": {"command": ["/bin/sh", "-c", script]}})
    cluster.hook("team", "before", ("GitRepo", "app"), ("Action", "ask"))
    assert cluster.printed(cluster.run("team", "before")).startswith("may-not\nteam")
    rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/team"
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]
    cluster.api.post(f"{rbac}/roles", {"metadata": {"name": "reader"}, "rules": rules})
    account = cluster.pod(job)["spec"]["serviceAccountName"]
    assert account == "ger-git-events-runner-action-job"
    subject = {"kind": "ServiceAccount", "name": account, "namespace": "team"}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}
    cluster.api.post(
        f"{rbac}/rolebindings", {"metadata": {"name": "reader"}, "roleRef": reference, "subjects": [subject]}
    )
    cluster.hook("team", "after", ("GitRepo", "app"), ("Action", "ask"))
    assert cluster.printed(cluster.run("team", "after")).startswith("may\n")


def test_a_cluster_wide_source_with_a_secret_elsewhere(cluster, release, repository, credential):
    """The copy of the Secret is deleted once its pod has cloned, before its Job is; the worker sees neither."""
    auth = {"type": "basic", "secretRef": {"name": "git", "namespace": "vault"}}
    cluster.api.ours("ClusterGitRepo", None, "shared", {"repoUri": repository.url, "authConfig": auth})
    cluster.api.ours("ClusterAction", None, "look", {"actionJob": {"command": ["/bin/sh", "-c", _LOOK]}})
    cluster.hook("team", "shared", ("ClusterGitRepo", "shared"), ("ClusterAction", "look"))
    job = cluster.run("team", "shared")
    text = cluster.printed(job)
    assert "ACTION_JOB_TRIGGER_SOURCE_KIND=ClusterGitRepo" in text
    assert PASSWORD not in text
    path = f"/api/v1/namespaces/team/secrets/git-events-runner-{job['metadata']['name']}"

    def gone():
        try:
            cluster.api.get(path)
        except Refused as refused:
            return refused.status == 404
        return False

    wait_until("the copy is deleted", gone, timeout_s=30)
    assert [found["metadata"]["uid"] for found in cluster.api.jobs("team", "shared")] == [job["metadata"]["uid"]]


def test_a_source_override_clones_another_repository(cluster, release, repository, credential):
    """The worker gets the override's files, and variables of both."""
    other = cluster.git.repository()
    other.push({"other": "from the override\n"})
    cluster.api.ours("GitRepo", "team", "tools", {"repoUri": other.url})
    override = {"kind": "GitRepo", "name": "tools", "reference": {"branch": "main"}}
    action = {"actionJob": {"command": ["/bin/sh", "-c", "cat other; env | sort"]}, "sourceOverride": override}
    cluster.api.ours("Action", "team", "overriding", action)
    cluster.hook("team", "override", ("GitRepo", "app"), ("Action", "overriding"))
    text = cluster.printed(cluster.run("team", "override"))
    assert text.startswith("from the override\n")
    assert "ACTION_JOB_ACTION_SOURCE_NAME=tools" in text
    assert "ACTION_JOB_TRIGGER_SOURCE_NAME=app" in text


def test_a_failed_clone_says_why_in_events_and_in_the_condition(cluster, release, repository, credential):
    """The exit code of the real cloner in a real pod becomes the reason, without anybody reading pods."""
    gone = {"kind": "GitRepo", "name": "gone", "reference": {"branch": "main"}}
    cluster.api.ours("GitRepo", "team", "gone", {"repoUri": f"{cluster.git.url}/no-such.git"})
    cluster.api.ours("Action", "team", "failing", {"actionJob": {"command": ["true"]}, "sourceOverride": gone})
    cluster.hook("team", "failing", ("GitRepo", "app"), ("Action", "failing"))
    status, body = cluster.webhook(release, "/team/failing")
    assert status == 202, body
    job, condition = cluster.finished("team", "failing")
    assert condition["reason"] == "PodFailurePolicy"

    def told():
        conditions = (cluster.api.trigger("team", "failing").get("status") or {}).get("conditions") or ()
        return [c for c in conditions if c["type"] == "CloneFailed"]

    [failed] = wait_until("the trigger's condition", told)
    assert failed["reason"] == "CloneNotFound"
    assert job["metadata"]["name"] in failed["message"]

    def events():
        found = cluster.api.events("team", "CloneNotFound")
        return {event["regarding"]["kind"] for event in found} >= {"Job", "WebhookTrigger"}

    wait_until("the Events", events)
