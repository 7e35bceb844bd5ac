"""What an Action may ask of its pod where the installation allows `baseline`."""

import pytest

from git_events_runner.rules.jobs.pod_settings import beyond_baseline
from git_events_runner.rules.policy import Policy
from tests.rules.examples import action_job
from tests.rules.podsettings import ALLOWED, REFUSED
from tests.rules.test_policy import OPEN, action, refused, source

BASELINE = Policy(pod_settings="baseline")


@pytest.mark.parametrize("job", ALLOWED, ids=str)
def test_what_baseline_allows(job):
    """Everything that the standard does not name runs, explicit nulls included."""
    assert beyond_baseline(action_job(**job)) is None
    assert refused(BASELINE, source(), action(**job)) is None


@pytest.mark.parametrize("job", REFUSED, ids=str)
def test_what_baseline_refuses(job):
    """Folders of the node and privileges of any kind, in the pod's context and in the container's."""
    assert refused(BASELINE, source(), action(**job)) == "PodSettingNotAllowed"
    assert refused(OPEN, source(), action(**job)) is None
    assert refused(BASELINE, source("ClusterGitRepo"), action("ClusterAction", **job)) is None


@pytest.mark.parametrize(
    "job",
    [
        {"securityContext": {"capabilities": "ALL", "seLinuxOptions": [], "seccompProfile": 7, "windowsOptions": "x"}},
        {"podSecurityContext": {"sysctls": "x"}},
        {"securityContext": {"capabilities": {"add": {"a": "b"}}}},
    ],
)
def test_what_no_pod_can_have_is_the_api_servers_business(job):
    """Values of wrong types are read without an error; the API server refuses the Job that has them."""
    assert beyond_baseline(action_job(**job)) is None


@pytest.mark.parametrize("value", [{}, [], {"procMount": 1}, {"procMount": {"a": "b"}}])
def test_a_mount_of_proc_that_is_none(value):
    """Whatever is not the default is refused, of any type."""
    context = value if isinstance(value, dict) and value else {"procMount": value or [1]}
    assert beyond_baseline(action_job(securityContext=context)) is not None
