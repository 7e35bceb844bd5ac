"""The volume of changed files in a Job: who writes it, who reads it, and where it is."""

import pytest

from git_events_runner.rules.jobs import changes
from git_events_runner.rules.jobs.pod import problems
from tests.rules.examples import action_job
from tests.rules.test_manifest import SHARED, Clone, made, pod

_NAMES = ("GIT_EVENTS_RUNNER_PREVIOUS_COMMIT", "GIT_EVENTS_RUNNER_CHANGES")


def told(job):
    env = {one["name"]: one.get("value") for one in pod(job)["initContainers"][0]["env"]}
    return tuple(env[name] for name in _NAMES)


def mount(container):
    [found] = [one for one in container["volumeMounts"] if one["name"] == changes.VOLUME_NAME]
    return found


def test_the_cloner_writes_it_and_the_worker_only_reads_it():
    """One small volume of its own, at one path in both containers."""
    job = pod(made(previous_commit="b" * 40))
    assert {"name": changes.VOLUME_NAME, "emptyDir": {"sizeLimit": "128Mi"}} in job["volumes"]
    assert mount(job["initContainers"][0]) == {"name": changes.VOLUME_NAME, "mountPath": "/git-events-runner"}
    assert mount(job["containers"][0]) == {
        "name": changes.VOLUME_NAME,
        "mountPath": "/git-events-runner",
        "readOnly": True,
    }


def test_the_cloner_gets_the_previous_commit_or_why_there_is_none():
    """A first run has none; a cloner of another source has no credential to read it with."""
    assert told(made(previous_commit="b" * 40)) == ("b" * 40, "/git-events-runner")
    assert told(made())[0] == "none: no previous commit is recorded"
    override = made(previous_commit="b" * 40, clone=Clone(pointer=SHARED, description="{}"), override=True)
    assert told(override)[0].startswith("none: the Action clones another source")


@pytest.mark.parametrize("workdir", ["/git-events-runner", "/git-events-runner/", "/git-events-runner/src"])
def test_a_working_directory_at_its_path_moves_it(workdir):
    """No two volumes are mounted at one path, nor one in the other."""
    job = pod(made({"workdir": workdir}))
    assert mount(job["containers"][0])["mountPath"] == "/git-events-runner-changes"
    env = {one["name"]: one["value"] for one in job["containers"][0]["env"]}
    assert env["ACTION_JOB_CHANGED_FILES"] == "/git-events-runner-changes/changed-files"


def test_an_action_cannot_mount_over_it():
    """The problem names the field and what to do."""
    action = action_job(volumeMounts=[{"name": "x", "mountPath": "/git-events-runner/"}])
    [problem] = problems(action, workdir="/w", volume_name="w")
    where, _, text = problem.partition(": ")
    assert where == "spec.actionJob.volumeMounts[0].mountPath"
    assert text == "/git-events-runner has the list of changed files; choose another path"
