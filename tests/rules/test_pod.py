"""Pod settings of an Action: where they go, and what they can never reach."""

import pytest

from git_events_runner.resources.job import JobView, copy_name
from git_events_runner.rules.jobs.pod import problems
from git_events_runner.rules.jobs.run import Clone, SecretKeys, Security
from git_events_runner.rules.ledger.patch import combine
from git_events_runner.rules.ledger.report import CloneReport
from tests.rules.examples import action_job
from tests.rules.test_manifest import APP, made, pod

EVERYTHING = {
    "env": [{"name": "STAGE", "value": "$(HOME)"}, {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}],
    "envFrom": [{"configMapRef": {"name": "settings"}}],
    "resources": {"requests": {"cpu": "1"}},
    "volumes": [{"name": "cache", "persistentVolumeClaim": {"claimName": "cache"}}],
    "volumeMounts": [{"name": "cache", "mountPath": "/cache"}],
    "imagePullSecrets": [{"name": "registry"}],
    "imagePullPolicy": "Always",
    "priorityClassName": "low",
    "runtimeClassName": "gvisor",
    "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}],
    "podSecurityContext": {"fsGroup": 1000, "runAsUser": 1000, "supplementalGroups": [7]},
    "securityContext": {"readOnlyRootFilesystem": True},
    "backoffLimit": 2,
    "podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]},
}


def worker(job):
    return pod(job)["containers"][0]


def test_every_setting_is_where_kubernetes_has_it():
    """What a container has is the worker's, what only a pod has the pod's, what only a Job has the Job's."""
    job = made(EVERYTHING)
    for name in ("envFrom", "resources", "imagePullPolicy"):
        assert worker(job)[name] == EVERYTHING[name]
    assert worker(job)["env"][-2:] == EVERYTHING["env"]
    assert worker(job)["volumeMounts"][-1] == EVERYTHING["volumeMounts"][0]
    for name in ("imagePullSecrets", "priorityClassName", "runtimeClassName", "topologySpreadConstraints"):
        assert pod(job)[name] == EVERYTHING[name]
    assert pod(job)["volumes"][-1] == EVERYTHING["volumes"][0]
    assert job["spec"]["backoffLimit"] == 2
    assert job["spec"]["podFailurePolicy"]["rules"][0] == EVERYTHING["podFailurePolicy"]["rules"][0]


def test_nothing_of_it_reaches_the_init_container():
    """The cloner is the same with every setting as with none."""
    assert pod(made(EVERYTHING))["initContainers"] == pod(made())["initContainers"]


def test_a_pods_user_is_given_to_the_worker_alone():
    """Fields that containers have as well would else be inherited by the cloner; the others are the pod's."""
    job = made(EVERYTHING)
    assert pod(job)["securityContext"] == {
        "seccompProfile": {"type": "RuntimeDefault"},
        "fsGroup": 1000,
        "supplementalGroups": [7],
    }
    assert worker(job)["securityContext"] == {"runAsUser": 1000, "readOnlyRootFilesystem": True}


def test_a_security_context_is_laid_over_the_restricted_one():
    """In a namespace that enforces `restricted` a setting adds to what it demands; the container's own word is last."""
    job = made(
        {"podSecurityContext": {"runAsUser": 7}, "securityContext": {"runAsUser": 8}},
        security=Security(restricted=True),
    )
    context = worker(job)["securityContext"]
    assert context["runAsUser"] == 8
    assert context["allowPrivilegeEscalation"] is False
    assert context["runAsNonRoot"] is True


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"volumes": [{"name": "action-workdir", "emptyDir": {}}]}, "volumes[0].name"),
        ({"volumes": [{"name": "git-events-runner-source", "emptyDir": {}}]}, "volumes[0]"),
        ({"volumes": [{"name": "x", "secret": {"secretName": "git-events-runner-hook-abc"}}]}, "volumes[0]"),
        (
            {"volumes": [{"name": "x", "projected": {"sources": [{"secret": {"name": copy_name("hook-abc")}}]}}]},
            "volumes[0]",
        ),
        ({"volumes": [{"name": "x", "csi": {"nodePublishSecretRef": {"name": copy_name("j")}}}]}, "volumes[0]"),
        ({"volumeMounts": [{"name": "git-events-runner-source", "mountPath": "/x"}]}, "volumeMounts[0]"),
        ({"volumeMounts": [{"name": "action-workdir", "mountPath": "/x"}]}, "volumeMounts[0].name"),
        ({"volumeMounts": [{"name": "x", "mountPath": "/action_workdir/"}]}, "volumeMounts[0].mountPath"),
        ({"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": copy_name("j"), "key": "token"}}}]}, "env[0]"),
        ({"envFrom": [{"secretRef": {"name": copy_name("j")}}]}, "envFrom[0]"),
        ({"imagePullSecrets": [{"name": copy_name("j")}]}, "imagePullSecrets[0]"),
    ],
)
def test_reserved_names_are_refused_by_field(settings, field):
    """Neither our volumes nor a copied Secret can be named, however deep; the message names the field."""
    [problem] = problems(action_job(**settings), workdir="/action_workdir", volume_name="action-workdir")
    assert problem.startswith(f"spec.actionJob.{field}")


def test_texts_that_name_nothing_may_say_anything():
    """A variable's value or a path that begins as our names do is the user's business."""
    settings = {
        "env": [{"name": "X", "value": "git-events-runner-source"}],
        "volumes": [{"name": "x", "configMap": {"name": "y", "items": [{"key": "git-events-runner-x", "path": "p"}]}}],
        "volumeMounts": [{"name": "x", "mountPath": "/git-events-runner-x"}],
    }
    assert not list(problems(action_job(**settings), workdir="/w", volume_name="v"))


def test_a_copied_secret_has_a_reserved_name():
    """The copy that the cloner mounts is one that no Action can name."""
    keys = SecretKeys(namespace="vault", name="cred", files={"tok": "token"})
    job = made(clone=Clone(pointer=APP, description="{}", secrets=(keys,)))
    [volume] = [v for v in pod(job)["volumes"] if "projected" in v]
    name = volume["projected"]["sources"][0]["secret"]["name"]
    settings = {"volumes": [{"name": "x", "secret": {"secretName": name}}]}
    assert list(problems(action_job(**settings), workdir="/w", volume_name="v"))


def rules(settings=None):
    return made(settings)["spec"]["podFailurePolicy"]["rules"]


def test_a_failed_clone_fails_the_job_with_its_exit_code():
    """Our rule is about the cloner alone; where pods are tried again, an unreachable server is worth one."""
    ours = rules()[0]
    assert ours["action"] == "FailJob"
    assert ours["onExitCodes"] == {"containerName": "action-cloner", "operator": "In", "values": [2, 3, 4, 5, 6, 7]}
    assert rules({"backoffLimit": 1})[0]["onExitCodes"]["values"] == [2, 3, 4, 6, 7]


def test_a_failed_worker_fails_the_job_with_its_exit_code_where_no_other_pod_is_allowed():
    """With a backoffLimit the Job controller has to make further pods, so that there is no rule."""
    worker = {"containerName": "action-worker", "operator": "NotIn", "values": [0]}
    assert rules()[1:] == [{"action": "FailJob", "onExitCodes": worker}]
    assert len(rules({"backoffLimit": 1})) == 1


@pytest.mark.parametrize(("given", "total"), [(1, 3), (18, 20), (19, 20), (20, 20)])
def test_an_actions_own_rules_come_first_and_are_never_cut(given, total):
    """The API server takes at most 20 rules, and the first that matches decides."""
    own = [{"action": "Count", "onExitCodes": {"operator": "In", "values": [n + 1]}} for n in range(given)]
    found = rules({"podFailurePolicy": {"rules": own}})
    assert found[:given] == own
    assert len(found) == total


@pytest.mark.parametrize(
    ("container", "code"), [("action-cloner", 3), ("action-worker", None)], ids=["the cloner's", "another's"]
)
def test_the_exit_code_is_read_from_the_jobs_condition(container, code):
    """Only an init container's: a worker that happens to end with 3 has cloned."""
    job = made()
    message = f"Container {container} for pod team/x-abc failed with exit code 3 matching FailJob rule at index 0"
    job["status"] = {
        "conditions": [{"type": "Failed", "status": "True", "reason": "PodFailurePolicy", "message": message}]
    }
    assert JobView.of(job).clone_exit == code


def test_the_condition_has_a_line_for_each_source_that_could_not_be_cloned():
    """It comes with the first, keeps its time while it lasts, and goes with the last."""

    def report(status, now, **exits):
        for source, (job, _) in exits.items():
            status["checkedSources"][source] = {"lastJob": {"name": job}}
        return combine(status, [CloneReport(exits=exits, generation=1, now=now)])[0]

    status = {"conditions": [{"type": "Ready", "status": "True"}], "checkedSources": {"app": {}, "lib": {}}}
    status = report(status, "t1", app=("j1", 3))
    status = report(status, "t2", lib=("j2", 5))
    [failed] = [c for c in status["conditions"] if c["type"] == "CloneFailed"]
    assert failed["lastTransitionTime"] == "t1"
    assert failed["reason"] == "CloneUnreachable"
    assert [line.partition(":")[0] for line in failed["message"].splitlines()] == ["source app", "source lib"]
    status = report(status, "t3", app=("j3", None), lib=("j4", None))
    assert [c["type"] for c in status["conditions"]] == ["Ready"]
