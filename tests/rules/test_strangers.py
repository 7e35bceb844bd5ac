"""Pull requests of forks run only with Actions that give their code nothing, unless the installation allows it."""

import pytest

from git_events_runner.resources.parse import parse
from git_events_runner.rules.pull_requests import PullRecord
from git_events_runner.rules.strangers import forks_refused, is_isolated
from tests.rules.test_policy import action, resolved, source


def watching(**pulls):
    """A trigger with these pull requests."""
    watch = {"onChangeOnly": True, "references": {"pullRequests": pulls} if pulls else {"branches": {}}}
    auth = {"type": "github", "secretRef": {"name": "hook"}, "key": "k"}
    spec = {
        "sources": {"names": ["app"], "watchOn": watch},
        "action": {"kind": "Action", "name": "build"},
        "webhook": {"multiSource": True, "authConfig": auth},
    }
    metadata = {"name": "pulls", "namespace": "team"}
    return parse(
        {
            "apiVersion": "git-events-runner.rs/v1alpha1",
            "kind": "WebhookTrigger",
            "metadata": metadata,
            "spec": spec,
        }
    )


ANY = watching(**{"from": "Any"})
AUTH = {"type": "token", "secretRef": {"name": "robot"}}


def refused(trigger=ANY, allowed="isolated", watched=None, kind="Action", **job):
    """The message of the refusal, if it is one."""
    found = forks_refused(allowed, trigger, resolved(watched or source(), action(kind, **job)))
    assert found is None or (found.stalled and found.reason == "ForksNotAllowed")
    return found and found.message


@pytest.mark.parametrize("kind", ["Action", "ClusterAction"])
@pytest.mark.parametrize(
    ("job", "field"),
    [
        ({"serviceAccount": "deployer"}, "spec.actionJob.serviceAccount: deployer"),
        ({"envFrom": [{"configMapRef": {"name": "x"}}]}, "spec.actionJob.envFrom"),
        ({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}, "env[0]: secretKeyRef"),
        ({"volumes": [{"name": "a"}, {"name": "b", "secret": {"secretName": "s"}}]}, "volumes[1]: secret"),
        (
            {"volumes": [{"name": "b", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]},
            "volumes[0]: serviceAccountToken",
        ),
        ({"volumes": [{"name": "b", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "s"}}}]}, "volumes[0]"),
        (
            {"volumes": [{"name": "b", "csi": {"driver": "d", "volumeAttributes": {"secretProviderClass": "vault"}}}]},
            "volumes[0]: secretProviderClass",
        ),
        (
            {"volumes": [{"name": "b", "projected": {"sources": [{"podCertificate": {"signerName": "s"}}]}}]},
            "volumes[0]: podCertificate",
        ),
        ({"volumes": [{"name": "b", "hostPath": {"path": "/"}}]}, "hostPath"),
        ({"securityContext": {"privileged": True}}, "privileged"),
    ],
)
def test_what_gives_strangers_more_is_named(job, field, kind):
    """The field of the Action, and three ways out."""
    found = refused(kind=kind, **job)
    assert field in found
    assert "SameRepository" in found
    assert "policy.forkPullRequests" in found
    assert refused(allowed="any", kind=kind, **job) is None


def test_an_action_that_gives_nothing_is_accepted():
    """Plain values, an emptyDir, images from a private registry (the kubelet's own) and a limit are no secrets."""
    job = {
        "env": [{"name": "A", "value": "secret"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}],
        "volumes": [{"name": "v", "emptyDir": {}}],
        "imagePullSecrets": [{"name": "registry"}],
        "activeDeadlineSeconds": 60,
    }
    assert refused(**job) is None


@pytest.mark.parametrize(("allowed", "fork", "isolated"), [("isolated", True, True), ("any", True, False)])
def test_the_account_of_the_runtime_config_is_not_for_forks(allowed, fork, isolated):
    """Their runs have none, unless the installation allows any; others keep it."""
    assert is_isolated(allowed, PullRecord(head=None, fork=fork)) is isolated
    assert not is_isolated(allowed, PullRecord(head=None, fork=False))
    assert not is_isolated(allowed, None)


def test_submodules_are_not_cloned_with_a_credential_for_strangers():
    """Their addresses are the fork's choice: other repositories of the same host could be read with it."""
    clone = {"submodules": True}
    assert refused(clone=clone) is None
    assert "clone.submodules" in refused(clone=clone, watched=source(authConfig=AUTH))


def test_an_installation_may_forbid_forks_and_others_are_not_concerned():
    """`none` refuses every Action; triggers of the same repository or of branches may use any."""
    assert "not allowed by the installation" in refused(allowed="none")
    for trigger in (watching(), watching(**{"from": "SameRepository"})):
        assert refused(trigger, allowed="none", serviceAccount="deployer") is None
