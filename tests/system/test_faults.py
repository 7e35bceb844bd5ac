"""Faults of the surroundings: quota, crash after the answer, the limit of running Jobs, hand-over, cancellation."""

import contextlib

from tests.cluster.api import OURS, Refused
from tests.cluster.finisher import Finisher
from tests.cluster.plane import wait_until
from tests.patience import timed
from tests.system.conftest import sources


def hook(api, namespace, name="hook", **watch):
    """A webhook trigger."""
    return api.ours("WebhookTrigger", namespace, name, sources(**watch) | {"webhook": {"multiSource": True}})


def entry(api, namespace, name="hook", source="app", kind="WebhookTrigger"):
    """The record of a source."""
    status = api.trigger(namespace, name, kind).get("status") or {}
    return (status.get("checkedSources") or {}).get(source) or {}


def condition(api, namespace, name, kind="Ready"):
    """A condition of a webhook trigger."""
    status = api.trigger(namespace, name).get("status") or {}
    return next((c for c in status.get("conditions") or () if c["type"] == kind), {})


def test_a_job_refused_by_a_quota_runs_once_the_quota_is_lifted(world, installation, repository, replicas):
    """The refusal is in the conditions; nothing is recorded, so the run is tried until it is taken."""
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}}
    path = f"/api/v1/namespaces/{installation}/resourcequotas"
    world.post(path, quota | {"spec": {"hard": {"count/jobs.batch": "0"}}})
    wait_until("the quota counts", lambda: (world.get(f"{path}/none").get("status") or {}).get("hard"))
    hook(world, installation)
    replica = replicas(0)
    assert replica.post(f"/{installation}/hook") == 202
    wait_until("the refusal", lambda: condition(world, installation, "hook").get("reason") == "QuotaExceeded")
    assert not entry(world, installation).get("commitHash")
    world.delete(f"{path}/none")
    [job] = wait_until("the Job", lambda: world.jobs(installation), timeout_s=90)
    assert job["metadata"]["annotations"]["git-events-runner.rs/commit"] == repository.head()
    wait_until("all well", lambda: condition(world, installation, "hook").get("status") == "True")


def test_kill_9_right_after_the_202_loses_nothing(world, installation, repository, replicas):
    """The request was counted before it was answered: who comes back, or the leader, runs it."""
    hook(world, installation)
    replica = replicas(0)
    for number in range(3):
        pushed = repository.push({"README": f"{number}\n"})
        assert replica.post(f"/{installation}/hook") == 202
        replica.kill()
        replica.restart()
        wait_until(
            "its Job",
            lambda pushed=pushed: any(
                job["metadata"]["annotations"]["git-events-runner.rs/commit"] == pushed
                for job in world.jobs(installation)
            ),
            timeout_s=90,
        )
        replica.wait_ready()
    assert len(world.jobs(installation)) == 3


def test_never_more_than_the_limit_of_jobs_runs_also_across_a_restart(world, installation, repository, replicas):
    """With maxRunningJobs 2, 20 changed sources, kill -9 in the middle: never more than 2 at once, all 20 run."""
    names = [f"s{number}" for number in range(20)]
    for name in names:
        world.ours("GitRepo", installation, name, {"repoUri": repository.url})
    spec = sources() | {"webhook": {"multiSource": True}}
    spec["sources"] = spec["sources"] | {"names": names}
    world.ours("WebhookTrigger", installation, "all", spec)
    config = {"runtimeConfig": "action: {maxRunningJobs: 2}\n"}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "git-events-runner-config"}, "data": config}
    world.post(f"/api/v1/namespaces/{installation}/configmaps", body)
    replica = replicas(0)
    with Finisher(world, installation, run_s=1.0) as finisher:
        assert replica.post(f"/{installation}/all") == 202
        wait_until("half of the Jobs", lambda: _done(world, installation) >= 8, timeout_s=60)
        replica.kill()
        replica.restart()
        wait_until("all Jobs", lambda: _done(world, installation) == 20, timeout_s=120)
        assert finisher.most <= 2
    assert len(world.jobs(installation)) == 20


def _done(api, namespace):
    return sum(bool((job.get("status") or {}).get("succeeded")) for job in api.jobs(namespace))


def test_leadership_is_handed_over_within_three_seconds(world, installation, replicas):
    """SIGTERM without a check under way: the lease is given back, the other replica takes it at its next look."""
    first = replicas(0)
    wait_until("a leader", lambda: first.leads)
    second = replicas(1)
    with timed() as watch:
        first.terminate()
        wait_until("the hand-over", lambda: second.leads, timeout_s=30)
    assert watch.fair_s <= 3.0
    assert first.process.wait() == 0


def test_a_killed_leader_is_replaced_within_its_lease_and_two_seconds(world, installation, replicas):
    """After kill -9 the lease runs out, then the other replica leads."""
    options = ("--leader-lease-duration", "5", "--leader-lease-grace", "2")
    first = replicas(0, *options)
    wait_until("a leader", lambda: first.leads)
    second = replicas(1, *options)
    with timed() as watch:
        first.kill()
        wait_until("the take-over", lambda: second.leads, timeout_s=30)
    assert watch.fair_s <= 5 + 2


def test_a_job_deleted_by_a_person_is_cancelled(world, installation, replicas):
    """It does not run again; an Event says so."""
    hook(world, installation)
    replica = replicas(0)
    assert replica.post(f"/{installation}/hook") == 202
    [job] = wait_until("the Job", lambda: world.jobs(installation))
    wait_until("it is settled", lambda: entry(world, installation).get("runs") == 1)
    world.delete(f"/apis/batch/v1/namespaces/{installation}/jobs/{job['metadata']['name']}")

    def told():
        events = world.items(f"/apis/events.k8s.io/v1/namespaces/{installation}/events")
        return any(event["reason"] == "JobCancelled" for event in events)

    wait_until("the Event", told)
    assert replica.post(f"/{installation}/hook") == 202
    wait_until("it is answered", lambda: entry(world, installation)["handled"] == 2)
    assert world.jobs(installation) == []


def test_a_running_job_that_loses_its_label_is_not_cancelled(world, installation, replicas):
    """The label that the watch selects by is removed by hand: it is put back, and the Job counts as before."""
    hook(world, installation)
    replica = replicas(0)
    assert replica.post(f"/{installation}/hook") == 202
    [job] = wait_until("the Job", lambda: world.jobs(installation))
    wait_until("it is settled", lambda: entry(world, installation).get("runs") == 1)
    path = f"/apis/batch/v1/namespaces/{installation}/jobs/{job['metadata']['name']}"
    before = job["metadata"]["labels"]
    world.patch(path, {"metadata": {"labels": {"git-events-runner.rs/trigger-kind": None}}})
    wait_until("the label", lambda: world.get(path)["metadata"]["labels"] == before)

    def reasons():
        return {one["reason"] for one in world.items(f"/apis/events.k8s.io/v1/namespaces/{installation}/events")}

    wait_until("the Event", lambda: "JobRelabelled" in reasons())
    wait_until("its TTL", lambda: world.get(path)["spec"].get("ttlSecondsAfterFinished"), timeout_s=60)
    assert "JobCancelled" not in reasons()
    assert entry(world, installation)["lastJob"]["phase"] == "Running"


def test_one_run_for_each_request_where_wanted(world, installation, replicas):
    """With onChangeOnly false: twelve requests at once, twelve Jobs."""
    hook(world, installation, onChangeOnly=False)
    replica = replicas(0)
    for _ in range(12):
        assert replica.post(f"/{installation}/hook") == 202
    wait_until("the Jobs", lambda: len(world.jobs(installation)) == 12, timeout_s=60)
    wait_until("the record", lambda: entry(world, installation).get("runs") == 12)
    assert entry(world, installation)["handled"] == 12


def test_only_selected_files_count(world, installation, repository, replicas):
    """A commit outside the patterns is recorded without a run; one inside runs; a change of patterns alone does not."""
    hook(world, installation, files=["src/"])
    replica = replicas(0)
    repository.push({"src/a": "1\n"})
    assert replica.post(f"/{installation}/hook") == 202
    wait_until("the first Job", lambda: entry(world, installation).get("runs") == 1)
    outside = repository.push({"docs/b": "1\n"})
    assert replica.post(f"/{installation}/hook") == 202
    wait_until("it is recorded", lambda: entry(world, installation)["commitHash"] == outside)
    assert entry(world, installation)["runs"] == 1
    patch = [{"op": "replace", "path": "/spec/sources/watchOn/files", "value": ["docs/"]}]
    world.patch(f"{OURS}/namespaces/{installation}/webhooktriggers/hook", patch)
    assert replica.post(f"/{installation}/hook") == 202
    wait_until("it is answered", lambda: entry(world, installation)["handled"] == 3)
    assert len(world.jobs(installation)) == 1
    repository.push({"docs/b": "2\n"})
    assert replica.post(f"/{installation}/hook") == 202
    wait_until("the second Job", lambda: entry(world, installation).get("runs") == 2)


def test_what_is_missing_is_said_and_mended_live(world, installation, replicas):
    """WrongConfig names the missing action; creating it is enough."""
    spec = sources() | {"webhook": {"multiSource": True}, "action": {"kind": "Action", "name": "later"}}
    world.ours("WebhookTrigger", installation, "hook", spec)
    replica = replicas(0)
    wait_until(
        "the state", lambda: (world.trigger(installation, "hook").get("status") or {}).get("state") == "WrongConfig"
    )
    assert "later does not exist" in condition(world, installation, "hook", "Stalled")["message"]
    world.ours("Action", installation, "later", {"actionJob": None})
    wait_until("all well", lambda: world.trigger(installation, "hook")["status"]["state"] == "Idle")
    assert replica.post(f"/{installation}/hook") == 202
    wait_until("the Job", lambda: world.jobs(installation))


def test_live_edits_of_a_schedule_take_effect_at_once(world, installation, repository, replicas):
    """A trigger that would be due in a year is due in a second after the edit, and never again once deleted."""
    world.ours("ScheduleTrigger", installation, "rare", sources() | {"schedule": {"interval": "1y"}})
    replica = replicas(0)
    wait_until("the first Job", lambda: len(world.jobs(installation)) == 1)
    wait_until("the record", lambda: entry(world, installation, "rare", kind="ScheduleTrigger").get("runs") == 1)
    repository.push({"README": "two\n"})
    path = f"{OURS}/namespaces/{installation}/scheduletriggers/rare"
    world.patch(path, {"spec": {"schedule": {"interval": "1s"}}})
    wait_until("the second Job", lambda: len(world.jobs(installation)) == 2, timeout_s=10)
    world.delete(path)
    series = 'git_events_runner_trigger_check_count_total{namespace="' + installation
    wait_until("its series are gone", lambda: replica.metric(series) == 0)


def test_the_finalizer_of_the_original_is_removed(world, installation, replicas):
    """A ScheduleTrigger of the original can be deleted."""
    finalizer = "scheduletriggers.git-events-runner.rs"
    spec = sources() | {"schedule": {"interval": "1h"}}
    world.ours("ScheduleTrigger", installation, "old", spec, finalizers=[finalizer])
    replicas(0)
    path = f"{OURS}/namespaces/{installation}/scheduletriggers/old"
    wait_until("it is gone", lambda: not world.get(path)["metadata"].get("finalizers"))


def test_an_entry_of_the_original_is_adopted_not_fired(world, installation, repository, replicas):
    """The same commit, and the id of an annotated tag, do not run again."""
    repository.tag("v1", annotated=True)
    watch = {"reference": {"tag": "v1"}}
    old = repository.git("rev-parse", "refs/tags/v1")
    hook(world, installation, **watch)
    status = {"state": "Idle", "lastRun": "Never", "checkedSources": {"app": {"commitHash": old, "fileHash": "x"}}}
    world.patch(f"{OURS}/namespaces/{installation}/webhooktriggers/hook/status", {"status": status})
    replica = replicas(0)
    assert replica.post(f"/{installation}/hook") == 202
    wait_until("it is adopted", lambda: entry(world, installation).get("commitHash") == repository.head())
    assert world.jobs(installation) == []


def test_a_bad_runtime_config_leaves_the_last_good_one(world, installation, replicas):
    """Event, metric and log; the good values stay."""
    path = f"/api/v1/namespaces/{installation}/configmaps"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "git-events-runner-config"}}
    world.post(path, body | {"data": {"runtimeConfig": "action: {maxRunningJobs: 3}\n"}})
    replica = replicas(0)
    wait_until("the limit", lambda: replica.metric("git_events_runner_jobs_queue_limit") == 3)
    world.patch(f"{path}/git-events-runner-config", {"data": {"runtimeConfig": "action: {maxRunning: 3}\n"}})
    wait_until("the metric", lambda: "git_events_runner_runtime_config_valid 0.0" in replica.get("/metrics")[1])
    assert replica.metric("git_events_runner_jobs_queue_limit") == 3
    assert "action.maxRunning" in replica.process.text()


def test_old_crds_hold_everything_back_and_say_what_to_run(control_plane, api, installation, replicas):
    """Without our status fields the API server would drop the ledger: not ready, with the command."""
    root = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/webhooktriggers.git-events-runner.rs"
    crd = api.get(root)
    old = {name: crd["metadata"][name] for name in ("name",)}
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    deliveries = schema.pop("deliveries")
    api.put(root, {**crd, "metadata": old | {"resourceVersion": crd["metadata"]["resourceVersion"]}})
    try:
        replica = replicas(0, wait=False)
        wait_until("it says so", lambda: "git-events-runner crds | kubectl apply" in replica.get("/ready")[1])
        assert replica.get("/ready")[0] == 500
        assert replica.get("/alive")[0] == 200
    finally:
        now = api.get(root)
        schema["deliveries"] = deliveries
        with contextlib.suppress(Refused):
            api.put(root, {**crd, "metadata": old | {"resourceVersion": now["metadata"]["resourceVersion"]}})
    replica.wait_ready()
