"""The runtime config as the rooms know it: what a Job's cloner may take."""

import pytest

from git_events_runner.errors import ConfigError
from git_events_runner.rules.jobs.run import CloneBounds
from git_events_runner.settings import RuntimeConfig, parse_runtime_config
from git_events_runner.wiring.config import CurrentPolicy, job_defaults

GIB = 2**30


def defaults(text):
    return job_defaults(parse_runtime_config(text))


def test_a_clone_is_bounded_by_default():
    """Ten GiB and two million files, small requests, and limits that a quota can demand; the volume is not limited."""
    found = job_defaults(RuntimeConfig())
    assert found.cloner_bounds == CloneBounds(max_bytes=10 * GIB, max_files=2_000_000)
    assert found.cloner_resources == {
        "requests": {"cpu": "50m", "memory": "64Mi"},
        "limits": {"cpu": "1", "memory": "1Gi"},
    }
    assert found.workdir_size_limit == ""


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("action: {workdir: {sizeLimit: 1Gi}}", GIB),
        ("action: {workdir: {sizeLimit: 20Gi}}", 10 * GIB),
        ("action: {workdir: {sizeLimit: 1000}}", 1000),
        ("action: {workdir: {sizeLimit: 1Gi}, containers: {cloner: {maxBytes: 5}}}", 5),
        ("action: {workdir: {sizeLimit: 100Gi}, containers: {cloner: {maxBytes: 53687091200}}}", 50 * GIB),
    ],
)
def test_a_clone_fits_into_its_volume(text, most):
    """The cloner stops with a reason before the kubelet would evict the pod without one."""
    assert defaults(text).cloner_bounds.max_bytes == most


def test_resources_are_as_the_config_says():
    """Numbers of YAML are quantities; an empty mapping sets none; each of the two is taken whole."""
    text = "action: {containers: {cloner: {resources: {requests: {cpu: 1, memory: 0.5}, limits: {}}}}}"
    assert defaults(text).cloner_resources == {"requests": {"cpu": "1", "memory": "0.5"}}
    assert defaults("action: {containers: {cloner: {resources: {requests: {}, limits: {}}}}}").cloner_resources == {}


@pytest.mark.parametrize(
    "text",
    [
        "action: {workdir: {sizeLimit: 10GB}}",
        "action: {workdir: {sizeLimit: -1Gi}}",
        "action: {containers: {cloner: {maxBytes: 0}}}",
        "action: {containers: {cloner: {maxFiles: -1}}}",
        "action: {containers: {cloner: {maxBytes: 10Gi}}}",
        "action: {containers: {cloner: {resources: {limits: {memory: much}}}}}",
        "action: {containers: {cloner: {resources: {limits: {'a b': 1}}}}}",
        "action: {containers: {cloner: {resources: {claims: []}}}}",
    ],
)
def test_what_is_no_limit(text):
    """A quantity that Kubernetes would refuse, or a limit that allows nothing, rejects the document by its key."""
    with pytest.raises(ConfigError, match=r"action\."):
        parse_runtime_config(text)


def test_the_policy_follows_the_runtime_config():
    """Each check reads it: the same value until another runtime config is loaded."""
    configs = [RuntimeConfig()]
    current = CurrentPolicy(lambda: configs[-1])
    first = current()
    assert current() is first
    configs.append(parse_runtime_config("policy: {minimumIntervalSeconds: 90}"))
    assert (first.minimum_interval_s, current().minimum_interval_s) == (0, 90)
