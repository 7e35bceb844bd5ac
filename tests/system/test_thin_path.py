"""The main job, from a push to a Job, through webhook and schedule."""

from tests.cluster.finisher import Finisher
from tests.cluster.plane import wait_until
from tests.system.conftest import sources


def test_a_push_becomes_exactly_one_job_through_a_webhook(world, installation, repository, replicas):
    """202, then a Job for the head, once; its end is in the trigger's status."""
    world.ours("WebhookTrigger", installation, "hook", sources() | {"webhook": {"multiSource": True}})
    replica = replicas(0)
    with Finisher(world, installation):
        assert replica.post(f"/{installation}/hook") == 202
        [job] = wait_until("a Job", lambda: world.jobs(installation, "hook"))
        assert job["metadata"]["annotations"]["git-events-runner.rs/commit"] == repository.head()
        assert replica.post(f"/{installation}/hook/app") == 202

        def settled():
            status = world.trigger(installation, "hook").get("status") or {}
            entry = (status.get("checkedSources") or {}).get("app") or {}
            phase = (entry.get("lastJob") or {}).get("phase")
            return phase == "Succeeded" and entry["handled"] == entry["requested"] == 2 and status

        status = wait_until("the result", settled)
        assert status["state"] == "Idle"
        assert status["checkedSources"]["app"]["runs"] == 1
        assert len(world.jobs(installation, "hook")) == 1


def test_a_push_becomes_exactly_one_job_through_a_schedule(world, installation, repository, replicas):
    """The first check runs at once, an unchanged repository does not run, a push does."""
    world.ours("ScheduleTrigger", installation, "every", sources() | {"schedule": {"interval": "1s"}})
    replica = replicas(0)
    wait_until("the first Job", lambda: world.jobs(installation, "every"))
    before = replica.metric("git_events_runner_trigger_check_count_total")
    wait_until("more checks", lambda: replica.metric("git_events_runner_trigger_check_count_total") >= before + 2)
    assert len(world.jobs(installation, "every")) == 1
    pushed = repository.push({"README": "two\n"})
    wait_until("the second Job", lambda: len(world.jobs(installation, "every")) == 2)
    commits = {job["metadata"]["annotations"]["git-events-runner.rs/commit"] for job in world.jobs(installation)}
    assert pushed in commits
