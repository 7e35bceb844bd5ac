"""What a worker gets in a namespace whose quota covers CPU or memory."""

import pytest

from git_events_runner.rules.jobs.compute_quota import NO_RULES, ComputeRules, needs_values

DEFAULTS = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
CLONER = {"limits": {"cpu": "1"}}
REQUESTS, LIMITS = ({part: value} for part, value in DEFAULTS.items())
ALL = ("requests.cpu", "requests.memory", "limits.cpu", "limits.memory")


def quota(*hard, **spec):
    """A ResourceQuota over these."""
    return {"spec": {"hard": dict.fromkeys(hard, "4"), **spec}}


def ranges(**limit):
    """A LimitRange with one limit."""
    return {"spec": {"limits": [{"type": "Container", **limit}]}}


def completed(rules, worker=None, *, cloner=CLONER, priority_class=None):
    """The worker's resources."""
    return rules.complete(worker or {}, cloner=cloner, defaults=DEFAULTS, priority_class=priority_class)


@pytest.mark.parametrize(
    ("hard", "found"),
    [
        (ALL, DEFAULTS),
        (("limits.cpu", "limits.memory"), DEFAULTS),
        (("requests.cpu", "requests.memory"), REQUESTS),
        (("cpu", "memory"), REQUESTS),
        (("limits.memory",), {"requests": {"memory": "64Mi"}, "limits": {"memory": "1Gi"}}),
        (("pods", "count/jobs.batch", "requests.storage", "limits.ephemeral-storage"), {}),
    ],
)
def test_a_worker_without_resources_gets_what_a_quota_covers(hard, found):
    """And nothing else: of a limit that it gets, the request is small, too."""
    assert completed(ComputeRules.of([quota(*hard)], [])) == found


def test_without_a_quota_a_worker_stays_as_it_is():
    """Also where a LimitRange has defaults."""
    own = {"limits": {"example.com/gpu": "1"}, "claims": []}
    assert completed(NO_RULES, own) == own
    assert completed(ComputeRules.of([], [ranges(default={"cpu": "2"})])) == {}


def test_values_of_the_action_stay():
    """A limit is at least as high as the Action's request; a request that only the limit gives is Kubernetes' own."""
    rules = ComputeRules.of([quota(*ALL)], [])
    assert completed(rules, {"requests": {"cpu": "3", "memory": "2Gi"}}) == {
        "requests": {"cpu": "3", "memory": "2Gi"},
        "limits": {"cpu": "3", "memory": "2Gi"},
    }
    assert completed(rules, {"requests": {"cpu": 1, "memory": "1Mi"}})["limits"] == DEFAULTS["limits"]
    assert completed(rules, {"requests": {"cpu": 0, "memory": "0"}})["requests"] == {"cpu": 0, "memory": "0"}
    limits = {"limits": {"cpu": 2, "memory": "1Mi", "example.com/gpu": "1"}}
    assert completed(rules, limits) == limits
    assert not needs_values(limits)
    assert needs_values({"limits": {"cpu": 2}, "requests": {"memory": "1Gi"}})


def test_values_of_a_limit_range_stay():
    """Kubernetes sets them after the controller; a request of its own counts for the limit that is missing."""
    both = ranges(default={"cpu": "2", "memory": "3Gi"}, defaultRequest={"cpu": "1", "memory": "1Gi"})
    assert completed(ComputeRules.of([quota(*ALL)], [both])) == {}
    minimum = ranges(defaultRequest={"memory": "2Gi"}, min={"memory": "2Gi"})
    found = completed(ComputeRules.of([quota("limits.memory")], [minimum]))
    assert found == {"requests": {"memory": "2Gi"}, "limits": {"memory": "2Gi"}}
    of_pods = {"spec": {"limits": [{"type": "Pod", "max": {"cpu": "2"}}]}}
    assert completed(ComputeRules.of([quota(*ALL)], [of_pods])) == DEFAULTS


@pytest.mark.parametrize(
    ("spec", "priority_class", "covers"),
    [
        ({"scopes": ["NotTerminating"]}, None, True),
        ({"scopes": ["Terminating"]}, None, False),
        ({"scopes": ["NotBestEffort"]}, None, True),
        ({"scopes": ["NotBestEffort", "Terminating"]}, None, False),
        ({"scopes": ["CrossNamespacePodAffinity"]}, None, False),
        ({"scopes": ["PriorityClass"]}, "high", True),
        ({"scopes": ["PriorityClass"]}, None, False),
        (("In", ["high"]), "high", True),
        (("In", ["high"]), "low", False),
        (("In", ["high"]), None, False),
        (("NotIn", ["high"]), "high", False),
        (("NotIn", ["high"]), None, True),
        (("Exists", None), "high", True),
        (("DoesNotExist", None), "high", False),
        (("DoesNotExist", None), None, True),
        (("Unknown", None), "high", False),
    ],
)
def test_a_quota_counts_only_for_pods_in_its_scopes(spec, priority_class, covers):
    """A Job's pod has no deadline of its own, and the Action's priority class."""
    if isinstance(spec, tuple):
        operator, values = spec
        one = {"scopeName": "PriorityClass", "operator": operator} | ({"values": values} if values else {})
        spec = {"scopeSelector": {"matchExpressions": [one]}}
    rules = ComputeRules.of([quota("limits.cpu", **spec)], [])
    assert bool(completed(rules, priority_class=priority_class)) is covers


def test_a_pod_without_any_value_is_in_no_scope_of_others():
    """Where the cloner has no resources either, the pod is BestEffort."""
    rules = ComputeRules.of([quota("limits.cpu", scopes=["NotBestEffort"])], [])
    assert completed(rules, cloner={}) == {}
    assert completed(rules, {"requests": {"memory": "1Mi"}}, cloner={})["limits"] == {"cpu": "1"}


def test_without_defaults_nothing_is_added():
    """The administrator may empty them."""
    rules = ComputeRules.of([quota(*ALL)], [])
    assert rules.complete({}, cloner=CLONER, defaults={}, priority_class=None) == {}
    only = rules.complete({}, cloner=CLONER, defaults={"limits": {"cpu": "1"}}, priority_class=None)
    assert only == {"limits": {"cpu": "1"}}
