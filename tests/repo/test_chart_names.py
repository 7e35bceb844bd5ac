"""Names of the chart's objects: short enough for the API server whatever the release's name, and never shared."""

import pytest
import yaml

from tests.repo import helm
from tests.repo.rendered import EVERYTHING, MONITORING

CAPABILITIES = ("admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy", MONITORING)
LONGEST = 63
# Names of the original, which users bind roles to; it could be installed up to a full name of 55 characters.
ORIGINALS = ("utility", "config", "leader-lock", "action-job")


def of(name, values=None):
    """Every object of a release, with CRDs left out."""
    found = helm.objects(EVERYTHING if values is None else values, name=name, api_versions=CAPABILITIES)
    return [obj for obj in found if obj["kind"] != "CustomResourceDefinition"]


def names(objects):
    return {(obj["kind"], obj["metadata"].get("namespace"), obj["metadata"]["name"]) for obj in objects}


def labels(value):
    """Every label and selector value below."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in {"labels", "matchLabels", "selector"} and isinstance(inner, dict):
                yield from (text for text in inner.values() if isinstance(text, str))
            yield from labels(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from labels(inner)


@pytest.mark.parametrize("length", [1, 3, 20, 30, 33, 34, 37, 38, 44, 45, 52, 53])
@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_every_name_and_label_fits(length, values):
    """Helm takes release names of up to 53 characters."""
    objects = of("r" * length, values)
    for kind, _, name in names(objects):
        kept = length <= 37 and name.endswith(ORIGINALS)
        assert len(name) <= (67 if kept and kind != "Service" else LONGEST), (kind, name)
    assert [text for obj in objects for text in labels(obj) if len(text) > LONGEST] == []
    assert len(names(objects)) == len(objects)


def test_a_long_release_names_its_own_objects():
    """Roles, accounts, lease, config and policies that are named elsewhere in the release are in it."""
    objects = of("r" * 53)
    there = {(kind, name) for kind, _, name in names(objects)}
    for obj in objects:
        if obj["kind"] in {"RoleBinding", "ClusterRoleBinding"}:
            assert (obj["roleRef"]["kind"], obj["roleRef"]["name"]) in there
            assert {("ServiceAccount", one["name"]) for one in obj["subjects"]} <= there
        if obj["kind"] == "ValidatingAdmissionPolicyBinding":
            assert ("ValidatingAdmissionPolicy", obj["spec"]["policyName"]) in there
    [deployment] = [obj for obj in objects if obj["kind"] == "Deployment"]
    arguments = dict(
        one.split("=", 1) for one in deployment["spec"]["template"]["spec"]["containers"][0]["args"] if "=" in one
    )
    assert ("ConfigMap", arguments["--config-map-name"]) in there
    [role] = [obj for obj in objects if obj["kind"] == "Role" and "leases" in yaml.safe_dump(obj)]
    assert arguments["--leader-lease-name"] in yaml.safe_dump(role)


@pytest.mark.parametrize("length", [40, 53])
def test_two_releases_never_share_a_name(length):
    """They differ in the last character alone, which is cut."""
    values = EVERYTHING | {"createNamespace": False, "extraObjects": []}
    one, other = (names(of("r" * (length - 1) + end, values)) for end in "ab")
    assert not one & other


def test_names_of_the_original_stay():
    """Also where they are longer than a label may be: it could be installed, and roles are bound to its account."""
    name = "r" * 37
    full = f"{name}-git-events-runner"
    there = {found for _, _, found in names(of(name, {"service": {"utility": {"type": "ClusterIP"}}}))}
    assert {f"{full}-utility", f"{full}-config", f"{full}-action-job"} <= there
