"""Jobs that a tenant makes himself, with our labels and annotations (items 1 to 4), with and without the policy."""

import contextlib
import json

import pytest

from git_events_runner.resources.job import RunKey, job_name
from tests.cluster.api import OURS, Api, Refused
from tests.cluster.plane import wait_until
from tests.repo import helm
from tests.system.conftest import sources
from tests.system.test_chart import path_of

KEY = "git-events-runner.rs"
TEXT = "call-0800-forged"


def forgery(trigger, source, number, *, place=None, labels=None, suspend=False, parallelism=0, **annotations):
    """A Job with everything that one of ours has."""
    metadata = trigger["metadata"]
    run = RunKey(trigger_uid=metadata["uid"], source=source, number=number)
    tracking = {f"{KEY}/trigger-kind": trigger["kind"], f"{KEY}/trigger-name": metadata["name"]}
    tracking |= {f"{KEY}/source-kind": "GitRepo", f"{KEY}/source-name": TEXT, f"{KEY}/controller-identity": "replica-0"}
    tracking |= {f"{KEY}/action-kind": "Action", f"{KEY}/action-name": TEXT}
    noted = {f"{KEY}/run": str(run), f"{KEY}/commit": "f" * 40, f"{KEY}/reason": TEXT, f"{KEY}/occurrence": "1"}
    noted |= {f"{KEY}/{name.replace('_', '-')}": value for name, value in annotations.items()}
    pod = {"containers": [{"name": "x", "image": "x"}], "restartPolicy": "Never"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(metadata["name"], run),
            "namespace": place or metadata["namespace"],
            "labels": tracking | (labels or {}),
            "annotations": noted,
        },
        "spec": {"suspend": suspend, "parallelism": parallelism, "template": {"spec": pod}},
    }


def jobs_path(namespace, name=""):
    return f"/apis/batch/v1/namespaces/{namespace}/jobs" + (f"/{name}" if name else "")


def texts(api, namespace):
    """Everything that conditions and Events of a namespace say."""
    triggers = [
        o for kind in ("webhook", "schedule") for o in api.items(f"{OURS}/namespaces/{namespace}/{kind}triggers")
    ]
    events = api.items(f"/apis/events.k8s.io/v1/namespaces/{namespace}/events")
    return str([trigger.get("status") for trigger in triggers]) + str([event["note"] for event in events])


@pytest.fixture
def policy(estate):
    """The chart's admission policy for Jobs, as it is rendered for this installation."""
    values = {
        "admissionPolicy": {"jobs": {"force": True}},
        "rbac": {"controller": {"jobsNamespaces": [estate.good, estate.evil]}},
    }
    rendered = helm.objects(values, name=estate.home, namespace=estate.home)
    found = [o for o in rendered if o["kind"].startswith("ValidatingAdmission")]
    assert len(found) == 4
    account = f"system:serviceaccount:{estate.home}:{estate.home}-git-events-runner"
    found = json.loads(json.dumps(found).replace(account, "replica-0"))
    for one in found:
        estate.api.post(path_of(one).rpartition("/")[0], one)
    yield found
    for one in reversed(found):
        estate.api.delete(path_of(one))


def own_hook(estate, repository, name="mine", **spec):
    """A trigger of the tenant's own."""
    with contextlib.suppress(Refused):
        estate.tenant.ours("GitRepo", estate.evil, "app", {"repoUri": repository.url})
        estate.tenant.ours("Action", estate.evil, "build", {"actionJob": {"command": ["true"]}})
    hook = sources(onChangeOnly=False) | {"webhook": {"multiSource": True}} | spec
    return estate.tenant.ours("WebhookTrigger", estate.evil, name, hook)


def started(estate, namespace, trigger):
    """Whether a Job of a trigger is admitted."""
    return [job for job in estate.api.jobs(namespace, trigger) if not job["spec"].get("suspend")]


def test_forged_jobs_get_no_secret_no_text_and_no_slot(estate, repository, shared):
    """Items 1, 2, 3: Jobs of somebody else's trigger, of sources it does not name, of numbers it did not give."""
    cluster = {"kind": "ClusterGitRepo", "names": [shared], "watchOn": {"onChangeOnly": True}}
    webhook = {"webhook": {"multiSource": True}}
    theirs = estate.api.ours("WebhookTrigger", estate.good, "shared", sources() | webhook | {"sources": cluster})
    mine = own_hook(estate, repository)
    replica = estate.start()
    assert replica.post(f"/{estate.evil}/mine") == 202
    wait_until("the tenant's first run", lambda: started(estate, estate.evil, "mine"))
    forged = []
    for number in range(1, 9):
        forged += [
            forgery(theirs, shared, number, place=estate.evil, suspend=True, needs_secret="copy"),
            forgery(theirs, TEXT, number, place=estate.evil, suspend=True, needs_secret="copy"),
            forgery(theirs, shared, number + 20, place=estate.evil, parallelism=1),
            forgery(mine, "app", number + 20, parallelism=1),
            forgery(mine, "app", number + 60),
            forgery(mine, TEXT, number, suspend=True, needs_secret="copy"),
            forgery(mine, "app", 40 + number, suspend=True, needs_secret="copy"),
        ]
    with estate.watched(seconds=6, starts=True):
        for job in forged:
            estate.tenant.post(jobs_path(estate.evil), job)
        assert replica.post(f"/{estate.evil}/mine") == 202
        wait_until("a later run of the tenant", lambda: len(started(estate, estate.evil, "mine")) > 8 + 1, timeout_s=60)
    assert estate.api.items(f"/api/v1/namespaces/{estate.evil}/secrets") == []
    assert TEXT not in texts(estate.api, estate.good)
    assert shared not in texts(estate.api, estate.evil)
    waiting = [job for job in estate.api.items(jobs_path(estate.evil)) if job["spec"].get("suspend")]
    assert len(waiting) == 32


def test_forged_jobs_make_no_series_and_no_record(estate, repository):
    """Item 4: Jobs that end, and Jobs that are deleted, under labels that name nothing."""
    mine = own_hook(estate, repository)
    theirs = estate.api.get(f"{OURS}/namespaces/{estate.good}/webhooktriggers/hook-0")
    never = {"kind": "WebhookTrigger", "metadata": {"name": TEXT, "uid": TEXT, "namespace": estate.evil}}
    replica = estate.start()
    assert replica.post(f"/{estate.evil}/mine") == 202
    [first] = wait_until("the tenant's first run", lambda: started(estate, estate.evil, "mine"))
    with estate.watched(seconds=4):
        for number in range(30, 40):
            for trigger in (mine, theirs, never):
                job = forgery(trigger, "app", number, place=estate.evil, parallelism=1)
                estate.tenant.post(jobs_path(estate.evil), job)
                path = jobs_path(estate.evil, job["metadata"]["name"])
                if number % 2:
                    ended = [{"type": kind, "status": "True"} for kind in ("FailureTarget", "Failed")]
                    estate.api.patch(
                        f"{path}/status", {"status": {"startTime": "2026-01-01T00:00:00Z", "conditions": ended}}
                    )
                else:
                    estate.tenant.delete(path)
        estate.tenant.delete(jobs_path(estate.evil, first["metadata"]["name"]))
        mine_ended = (
            f'jobs_queue_completed_count_total{{action_kind="Action",action_name="build",namespace="{estate.evil}"'
        )
        wait_until("the series of the real one", lambda: replica.metric(f"git_events_runner_{mine_ended}") == 1)
    exposed = replica.get("/metrics")[1]
    assert TEXT not in exposed
    assert replica.metric(f"git_events_runner_{mine_ended}") == 1
    entry = estate.api.trigger(estate.evil, "mine")["status"]["checkedSources"]["app"]
    assert entry["runs"] == 1


def test_the_admission_policy_takes_our_keys_from_the_controller_alone(estate, repository, policy):
    """Items 1 to 4 at the API server: created, copied, added, changed or removed by another account: refused."""
    mine = own_hook(estate, repository)
    replica = estate.start()
    with estate.watched():
        assert replica.post(f"/{estate.evil}/mine") == 202
        [job] = wait_until("the controller's own Job", lambda: started(estate, estate.evil, "mine"))
        path, tenant = jobs_path(estate.evil, job["metadata"]["name"]), estate.tenant

        def refused(act, *arguments):
            try:
                act(*arguments)
            except Refused as error:
                return error.status in {403, 422} and "written by the controller only" in str(error)
            return False

        plain = forgery(mine, "app", 50)
        del plain["metadata"]["labels"], plain["metadata"]["annotations"]
        probes = iter(range(100, 200))

        def holds():
            return refused(tenant.post, jobs_path(estate.evil), forgery(mine, "app", next(probes)))

        wait_until("the policy holds", holds)
        for field in ("labels", "annotations"):
            one = plain | {"metadata": plain["metadata"] | {field: {f"{KEY}/trigger-kind": "x"}}}
            assert refused(tenant.post, jobs_path(estate.evil), one)
            assert refused(tenant.patch, path, {"metadata": {field: {f"{KEY}/more": "x"}}})
            for key in [key for key in job["metadata"][field] if key.startswith(KEY)]:
                assert refused(tenant.patch, path, {"metadata": {field: {key: "x"}}})
                assert refused(tenant.patch, path, {"metadata": {field: {key: None}}})
        assert refused(estate.api.post, jobs_path(estate.evil), forgery(mine, "app", 51))
        tenant.post(jobs_path(estate.evil), plain)
        tenant.patch(path, {"metadata": {"labels": {"team": "x"}, "annotations": {"note": "y"}}})
        tenant.patch(path, {"metadata": {"finalizers": ["example.org/x"]}})
        tenant.patch(path, {"metadata": {"finalizers": None}})
        tenant.patch(path, {"spec": {"suspend": True}})
        ended = {"startTime": "2026-01-01T00:00:00Z", "conditions": [{"type": "FailureTarget", "status": "True"}]}
        tenant.patch(path, {"spec": {"suspend": False}})
        estate.api.patch(f"{path}/status", {"status": ended})
        wait_until(
            "its TTL, from the controller", lambda: "ttlSecondsAfterFinished" in tenant.get(path)["spec"], timeout_s=60
        )
        elsewhere = forgery(mine, "app", 52, place="default")
        estate.api.post(jobs_path("default"), elsewhere)
        estate.api.delete(jobs_path("default", elsewhere["metadata"]["name"]))
        tenant.delete(path)


def test_the_controller_deletes_no_secret_but_its_copies(estate, policy):
    """Item 24 brought the right to delete Secrets: at the API server it ends at the reserved names."""
    path = f"/api/v1/namespaces/{estate.evil}/secrets"
    for name in ("mine", "git-events-runner-copy", *(f"probe-{number}" for number in range(40))):
        estate.api.post(path, {"kind": "Secret", "metadata": {"name": name}})
    controller, probes = Api(estate.plane, token="replica-0-token"), iter(range(40))

    def refused(name):
        try:
            controller.delete(f"{path}/{name}")
        except Refused as error:
            return error.status in {403, 422} and "only its copies of Secrets" in str(error)
        return False

    wait_until("the policy holds", lambda: refused(f"probe-{next(probes)}"), every_s=0.5)
    assert refused("mine")
    controller.delete(f"{path}/git-events-runner-copy")
    estate.tenant.delete(f"{path}/mine")
