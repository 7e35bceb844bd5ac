"""What an installation may forbid its tenants; by default nothing."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_events_runner.errors import InvalidObject
from git_events_runner.resources.parse import parse
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.jobs.run import Pointer
from git_events_runner.rules.policy import Policy, limit_reached, refusal, too_often
from git_events_runner.rules.resolve import Resolved
from git_events_runner.rules.schedule.schedule import parse_schedule

NOW = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
OPEN = Policy()
SECRET = {"type": "token", "secretRef": {"name": "robot", "namespace": "platform"}}


def thing(kind, name, spec):
    metadata = {"name": name} | ({} if kind.startswith("Cluster") else {"namespace": "team"})
    return parse({"apiVersion": "git-events-runner.rs/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})


def source(kind="GitRepo", name="app", **spec):
    return thing(kind, name, {"repoUri": "https://git.example/app"} | spec)


def action(kind="Action", *, allowed=None, **job):
    return thing(kind, "build", {"actionJob": job} | ({"allowedNamespaces": allowed} if allowed is not None else {}))


def resolved(watched, act, cloned=None):
    cloned = cloned or watched
    return Resolved(
        watched=Pointer(source=watched.ref, ref_type="branch", ref_name="main"),
        watched_model=watched,
        action=act.ref,
        action_uid="1",
        action_generation=1,
        action_model=act,
        cloned=Pointer(source=cloned.ref, ref_type="branch", ref_name="main"),
        cloned_model=cloned,
    )


def refused(policy, watched, act, cloned=None, labels=None):
    found = refusal(policy, resolved(watched, act, cloned), "team", labels or {})
    assert found is None or found.stalled
    return found and found.reason


@pytest.mark.parametrize(
    ("allowed", "labels", "lets"),
    [
        ({"names": ["other", "team"]}, {}, True),
        ({"names": ["other"]}, {}, False),
        ({}, {}, False),
        ({"names": []}, {}, False),
        ({"selector": {}}, {}, True),
        ({"selector": {"matchLabels": {"tier": "gold"}}}, {"tier": "gold", "x": "y"}, True),
        ({"selector": {"matchLabels": {"tier": "gold"}}}, {"tier": "tin"}, False),
        ({"selector": {"matchLabels": {"tier": "gold"}}}, {}, False),
        ({"names": ["other"], "selector": {"matchLabels": {"tier": "gold"}}}, {"tier": "gold"}, True),
        ({"selector": {"matchExpressions": [{"key": "t", "operator": "In", "values": ["a", "b"]}]}}, {"t": "b"}, True),
        ({"selector": {"matchExpressions": [{"key": "t", "operator": "In", "values": ["a"]}]}}, {}, False),
        ({"selector": {"matchExpressions": [{"key": "t", "operator": "NotIn", "values": ["a"]}]}}, {}, True),
        ({"selector": {"matchExpressions": [{"key": "t", "operator": "NotIn", "values": ["a"]}]}}, {"t": "a"}, False),
        ({"selector": {"matchExpressions": [{"key": "t", "operator": "Exists"}]}}, {"t": ""}, True),
        ({"selector": {"matchExpressions": [{"key": "t", "operator": "DoesNotExist"}]}}, {"t": ""}, False),
        (
            {"selector": {"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "t", "operator": "Exists"}]}},
            {"a": "1"},
            False,
        ),
    ],
)
def test_allowed_namespaces_are_named_or_selected_by_their_labels(allowed, labels, lets):
    """For a source, an action and an override alike, with Kubernetes' meaning of selectors."""
    expected = None if lets else "NamespaceNotAllowed"
    shared = source("ClusterGitRepo", "shared", allowedNamespaces=allowed)
    assert refused(OPEN, shared, action(), labels=labels) == expected
    assert refused(OPEN, source(), action("ClusterAction", allowed=allowed), labels=labels) == expected
    assert refused(OPEN, source(), action(), cloned=shared, labels=labels) == expected


@pytest.mark.parametrize(
    "requirement",
    [
        {"key": "t", "operator": "In"},
        {"key": "t", "operator": "Exists", "values": ["a"]},
        {"key": "t", "operator": "Is"},
    ],
)
def test_a_selector_that_means_nothing_makes_the_object_invalid(requirement):
    """An invalid cluster source is used by nobody, so that a slip of the pen opens nothing."""
    with pytest.raises(InvalidObject, match=r"spec\.allowedNamespaces\.selector\.matchExpressions"):
        source("ClusterGitRepo", allowedNamespaces={"selector": {"matchExpressions": [requirement]}})


@pytest.mark.parametrize(
    ("default", "plain", "secret", "cluster_action"),
    [
        ("all", None, None, None),
        ("withoutCredentials", None, "NamespaceNotAllowed", None),
        ("none", "NamespaceNotAllowed", "NamespaceNotAllowed", "NamespaceNotAllowed"),
    ],
)
def test_an_installation_may_demand_allowed_namespaces(default, plain, secret, cluster_action):
    """Of every cluster object, or only of sources that name a Secret; a list always decides by itself."""
    policy = Policy(default_allowed_namespaces=default)
    assert refused(policy, source("ClusterGitRepo"), action()) == plain
    assert refused(policy, source("ClusterGitRepo", authConfig=SECRET), action()) == secret
    assert refused(policy, source(), action("ClusterAction")) == cluster_action
    listed = source("ClusterGitRepo", authConfig=SECRET, allowedNamespaces={"names": ["team"]})
    assert refused(policy, listed, action("ClusterAction", allowed={"names": ["team"]})) is None
    assert refused(policy, source(authConfig=SECRET), action()) is None


def test_an_action_may_name_listed_service_accounts_only():
    """Naming none is always fine, an empty list allows any, and a ClusterAction is the administrator's word."""
    policy = Policy(service_accounts=("builder", "deployer"))
    assert refused(policy, source(), action(serviceAccount="builder")) is None
    assert refused(policy, source(), action()) is None
    assert refused(policy, source(), action(serviceAccount="admin")) == "ServiceAccountNotAllowed"
    assert refused(OPEN, source(), action(serviceAccount="admin")) is None
    assert refused(policy, source(), action("ClusterAction", serviceAccount="admin")) is None


@pytest.mark.parametrize(("word", "reason"), [("label", "LabelNotAllowed"), ("annotation", "AnnotationNotAllowed")])
def test_labels_and_annotations_with_forbidden_beginnings_are_refused(word, reason):
    """The message names the key; a ClusterAction is not bound."""
    policy = replace(OPEN, **{f"forbidden_{word}_prefixes": ("iam.cloud/", "sidecar.")})
    assert refused(policy, source(), action(**{f"{word}s": {"team": "x"}})) is None
    bad = action(**{f"{word}s": {"team": "x", "iam.cloud/role": "admin"}})
    found = refusal(policy, resolved(source(), bad), "team", {})
    assert (found.reason, "iam.cloud/role" in found.message) == (reason, True)
    assert refused(OPEN, source(), bad) is None
    assert refused(policy, source(), action("ClusterAction", **{f"{word}s": {"iam.cloud/role": "admin"}})) is None


@pytest.mark.parametrize(
    ("mode", "own", "cluster", "cluster_secret"),
    [
        ("any", None, None, None),
        ("withoutClusterCredentials", None, None, "ClonerImageNotAllowed"),
        ("none", "ClonerImageNotAllowed", "ClonerImageNotAllowed", "ClonerImageNotAllowed"),
    ],
)
def test_a_tenants_cloner_image_may_be_kept_from_cluster_credentials(mode, own, cluster, cluster_secret):
    """What counts is the source that is cloned, also when an override names it."""
    policy = Policy(cloner_images=mode)
    act = action(clonerImage="mine:1")
    secret = source("ClusterGitRepo", "secret", authConfig=SECRET)
    assert refused(policy, source(authConfig=SECRET), act) == own
    assert refused(policy, source("ClusterGitRepo"), act) == cluster
    assert refused(policy, secret, act) == cluster_secret
    assert refused(policy, source(), act, cloned=secret) == cluster_secret
    way = source("ClusterGitRepo", proxy={"url": "http://proxy:1", "secretRef": {"name": "way", "namespace": "v"}})
    assert refused(policy, way, act) == cluster_secret
    assert refused(policy, source("ClusterGitRepo", proxy={"url": "http://proxy:1"}), act) == cluster
    assert refused(policy, secret, action()) is None
    assert refused(policy, secret, action("ClusterAction", clonerImage="ours:1")) is None


@pytest.mark.parametrize(
    ("interval", "cron", "least_s", "field"),
    [
        ("30s", None, 60, "spec.schedule.interval"),
        ("1m", None, 60, None),
        ("1s", None, 0, None),
        (None, "* * * * *", 60, None),
        (None, "*/10 * * * * *", 60, "spec.schedule.cron"),
        (None, "0,1 3 * * *", 120, "spec.schedule.cron"),
        (None, "0 3 * * *", 3600, None),
        (None, "0 0 0 1 1 * 2027", 3600, None),
    ],
)
def test_a_schedule_may_have_to_keep_its_distance(interval, cron, least_s, field):
    """Crons are judged by the shortest gap between their next due times."""
    found = too_often(Policy(minimum_interval_s=least_s), parse_schedule(interval, cron), NOW)
    assert (found.field if found else None) == field


TIMES = st.lists(st.integers(0, 59), min_size=1, max_size=5, unique=True).map(lambda found: ",".join(map(str, found)))


@given(
    seconds=st.one_of(st.just("0"), TIMES),
    minutes=st.one_of(st.just("*"), TIMES),
    hours=st.one_of(st.just("*"), st.sampled_from(["3", "0,23", "1,2,22"])),
    days=st.sampled_from(["* *", "1 *", "*/9 *"]),
    least_s=st.sampled_from([2, 60, 61, 3600, 3601, 7200]),
)
def test_times_of_day_far_apart_are_due_far_apart(seconds, minutes, hours, days, least_s):
    """What is allowed without looking for due times has none that are nearer to one another."""
    schedule = parse_schedule(None, f"{seconds} {minutes} {hours} {days} *")
    found = too_often(Policy(minimum_interval_s=least_s), schedule, NOW)
    moments = [NOW]
    for _ in range(12):
        moments.append(schedule.next_due(moments[-1], phase_key=""))
    near = any((after - before).total_seconds() < least_s for before, after in pairwise(moments[1:]))
    assert not (near and found is None)


def test_a_namespace_that_has_its_share_of_runs_waits():
    """As many as allowed are allowed; the next is tried again, so nobody has to act; 0 is no limit."""
    policy = Policy(unfinished_runs_per_namespace=3)
    assert limit_reached(policy, "team", 2) is None
    full = limit_reached(policy, "team", 3)
    assert (full.reason, full.stalled) == ("NamespaceLimitReached", False)
    assert limit_reached(OPEN, "team", 10_000) is None


def test_by_default_nothing_is_refused():
    """An installation that says nothing goes on as it was."""
    act = action(serviceAccount="any", clonerImage="any:1", labels={"a": "b"}, annotations={"c": "d"})
    assert refused(OPEN, source("ClusterGitRepo", authConfig=SECRET), act) is None
    assert too_often(OPEN, parse_schedule("1s", None), NOW) is None
    assert Ref("Action", "team", "build") == act.ref
