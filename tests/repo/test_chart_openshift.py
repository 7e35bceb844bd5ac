"""The chart where the cluster assigns users and groups: it names none, but those that somebody sets."""

import pytest
import yaml

from tests.repo import helm

OPENSHIFT = ("security.openshift.io/v1", "security.openshift.io/v1/SecurityContextConstraints")
IDS = {"runAsUser", "runAsGroup", "fsGroup"}


def contexts(objects):
    """Security contexts of every pod and container of the release."""
    specs = [
        o["spec"] if o["kind"] == "Pod" else o["spec"]["template"]["spec"]
        for o in objects
        if o["kind"] in {"Pod", "Deployment"}
    ]
    assert len(specs) == 2
    return [part["securityContext"] for spec in specs for part in (spec, *spec["containers"])]


def pod_security(objects):
    [config] = [o for o in objects if o["kind"] == "ConfigMap"]
    return yaml.safe_load(config["data"]["runtimeConfig"])["action"]["podSecurity"]


@pytest.mark.parametrize(
    ("values", "served", "named", "jobs"),
    [
        ({}, False, True, "auto"),
        ({}, True, False, "auto"),
        ({"openshift": "disabled"}, True, True, "auto"),
        ({"openshift": "enabled"}, False, False, "openshift"),
        (
            {"openshift": "enabled", "runtimeConfig": {"action": {"podSecurity": "restricted"}}},
            True,
            False,
            "restricted",
        ),
    ],
)
def test_ids_are_named_where_the_cluster_assigns_none(values, served, named, jobs):
    """OpenShift is known by what its API server serves; Jobs learn it from their namespace."""
    objects = helm.objects(values, api_versions=OPENSHIFT if served else ())
    found = contexts(objects)
    assert any(IDS & set(context) for context in found) == named
    assert all(context["runAsNonRoot"] for context in found)
    assert pod_security(objects) == jobs


def test_ids_of_the_users_own_stay():
    """A group of the namespace's range, for a volume of theirs."""
    values = {"podSecurityContext": {"fsGroup": 1000650000}, "securityContext": {"runAsUser": 1000650000}}
    for context in contexts(helm.objects(values, api_versions=OPENSHIFT)):
        assert [value for name, value in context.items() if name in IDS] == [1000650000]
