"""The Job's shape: the contract's names and variables, and no more access than needed."""

from dataclasses import replace

import pytest

from git_events_runner.resources.job import JobView, RunKey, job_name
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.jobs.labels import label
from git_events_runner.rules.jobs.manifest import manifest, secret_copy
from git_events_runner.rules.jobs.run import Clone, JobDefaults, Pointer, PullRequestOfRun, Run, SecretKeys, Security
from tests.rules.examples import action_job

DEFAULTS = JobDefaults(
    active_deadline_s=3600,
    ttl_s=7200,
    waiting_timeout_s=300,
    start_timeout_s=600,
    service_account=None,
    workdir="/action_workdir",
    volume_name="action-workdir",
    cloner_name="action-cloner",
    cloner_image="cloner:1",
    cloner_api_token=False,
    worker_name="action-worker",
    worker_image="worker:1",
    variables_prefix="ACTION_JOB_",
    pod_security="auto",
)
APP = Pointer(source=Ref("GitRepo", "team", "app"), ref_type="branch", ref_name="main")
SHARED = Pointer(source=Ref("ClusterGitRepo", None, "tools"), ref_type="tag", ref_name="v1")
KEY = RunKey(trigger_uid="8f0d", source="app", number=3)


def run(**fields):
    given = {
        "name": job_name("nightly", KEY),
        "key": KEY,
        "trigger": Ref("ScheduleTrigger", "team", "nightly"),
        "watched": APP,
        "commit": "a" * 40,
        "action": Ref("Action", "team", "build"),
        "action_uid": "1234",
        "clone": Clone(pointer=APP, description='{"url":"https://x/$y"}'),
        "override": False,
        "reason": "fire-changed",
        "occurrence": "2026-05-06T07:08:09Z",
        "file_hash": None,
        "task_ids": ("t1", "t2"),
        "identity": "pod-1",
        "suspend": False,
        "security": Security(),
    }
    return Run(**(given | fields))


def made(action=None, defaults=DEFAULTS, **fields):
    return manifest(run(**fields), action_job(**(action or {})), defaults)


def pod(job):
    return job["spec"]["template"]["spec"]


def test_the_fixed_fields_are_the_contracts():
    """One try, one pod, in the trigger's namespace, owned by the action."""
    job = made()
    assert job["metadata"]["namespace"] == "team"
    assert job["metadata"]["ownerReferences"][0] == {
        "apiVersion": "git-events-runner.rs/v1alpha1",
        "kind": "Action",
        "name": "build",
        "uid": "1234",
        "controller": True,
        "blockOwnerDeletion": False,
    }
    assert {k: v for k, v in job["spec"].items() if k not in {"template", "podFailurePolicy"}} == {
        "backoffLimit": 0,
        "parallelism": 1,
        "suspend": False,
        "activeDeadlineSeconds": 3600,
    }
    assert pod(job)["restartPolicy"] == "Never"
    assert "ttlSecondsAfterFinished" not in job["spec"]


def test_the_run_can_be_read_back_from_the_job():
    """What settling needs is in the annotations."""
    view = JobView.of(made())
    assert (view.run, view.commit, view.due_at, view.ttl_s, view.waiting_timeout_s) == (
        KEY,
        "a" * 40,
        "2026-05-06T07:08:09Z",
        7200,
        300,
    )
    assert JobView.of(made(occurrence="17")).request == 17


def test_the_worker_gets_the_originals_variables():
    """Names and values as in the contract; the namespace for a GitRepo only."""
    env = {e["name"]: e["value"] for e in pod(made())["containers"][0]["env"]}
    assert env == {
        "ACTION_JOB_WORKDIR": "/action_workdir",
        "ACTION_JOB_TRIGGER_KIND": "ScheduleTrigger",
        "ACTION_JOB_TRIGGER_NAME": "nightly",
        "ACTION_JOB_TRIGGER_SOURCE_KIND": "GitRepo",
        "ACTION_JOB_TRIGGER_SOURCE_NAME": "app",
        "ACTION_JOB_TRIGGER_SOURCE_NAMESPACE": "team",
        "ACTION_JOB_TRIGGER_SOURCE_COMMIT": "a" * 40,
        "ACTION_JOB_TRIGGER_SOURCE_REF_TYPE": "branch",
        "ACTION_JOB_TRIGGER_SOURCE_REF_NAME": "main",
        "ACTION_JOB_EVENT": "changed",
        "ACTION_JOB_RUN_NUMBER": "3",
        "ACTION_JOB_RUN_ATTEMPT": "1",
        "ACTION_JOB_CHANGED_FILES": "/git-events-runner/changed-files",
    }


def test_an_override_is_cloned_and_named():
    """The init container gets the override's reference; the worker is told both."""
    job = made(clone=Clone(pointer=SHARED, description="{}"), override=True)
    env = {e["name"]: e["value"] for e in pod(job)["containers"][0]["env"]}
    assert env["ACTION_JOB_ACTION_SOURCE_KIND"] == "ClusterGitRepo"
    assert env["ACTION_JOB_ACTION_SOURCE_REF_TYPE"] == "tag"
    assert "ACTION_JOB_ACTION_SOURCE_NAMESPACE" not in env
    arguments = pod(job)["initContainers"][0]["args"]
    assert arguments == [
        *("--kind", "ClusterGitRepo", "--source", "tools", "--tag", "v1"),
        *("--destination", "/action_workdir"),
    ]


def test_the_cloner_gets_the_triggering_commit():
    """The commit that was decided on, not what the branch is by then."""
    arguments = pod(made({"preserveGitFolder": True, "enableClonerDebug": True}))["initContainers"][0]["args"]
    assert arguments[4:6] == ["--commit", "a" * 40]
    assert arguments[-2:] == ["--preserve-git-folder", "--debug"]


def test_a_dollar_is_never_expanded_by_the_kubelet():
    """A branch called x$(HOME) stays one."""
    odd = Pointer(source=APP.source, ref_type="branch", ref_name="x$(HOME)")
    job = made(watched=odd, clone=Clone(pointer=odd, description='{"url":"https://x/$(A)"}'), override=True)
    assert {"name": "ACTION_JOB_TRIGGER_SOURCE_REF_NAME", "value": "x$$(HOME)"} in pod(job)["containers"][0]["env"]
    cloner = pod(job)["initContainers"][0]
    assert "x$$(HOME)" in cloner["args"]
    assert cloner["env"][0]["value"] == '{"url":"https://x/$$(A)"}'


def test_secret_keys_reach_the_init_container_alone():
    """Only the keys needed, under their final names, mounted nowhere else."""
    keys = SecretKeys(namespace="team", name="cred", files={"tok": "token"})
    job = made(clone=Clone(pointer=APP, description="{}", secrets=(keys,)))
    [volume] = [v for v in pod(job)["volumes"] if "projected" in v]
    assert volume["projected"]["sources"] == [{"secret": {"name": "cred", "items": [{"key": "tok", "path": "token"}]}}]
    mounted = {
        c["name"]: [m["name"] for m in c["volumeMounts"]] for c in pod(job)["initContainers"] + pod(job)["containers"]
    }
    own = ["action-workdir", "git-events-runner-changes"]
    assert mounted == {"action-cloner": [*own, volume["name"]], "action-worker": own}
    assert job["spec"]["suspend"] is False


def test_a_secret_from_elsewhere_suspends_the_job_until_it_is_copied():
    """The copy's name is the Job's with a reserved beginning; who admits the Job makes it first."""
    keys = SecretKeys(namespace="vault", name="cred", files={"tok": "token"})
    job = made(clone=Clone(pointer=SHARED, description="{}", secrets=(keys,)))
    assert job["spec"]["suspend"] is True
    assert JobView.of(job).needs_secret
    [volume] = [v for v in pod(job)["volumes"] if "projected" in v]
    assert volume["projected"]["sources"][0]["secret"]["name"] == f"git-events-runner-{job_name('nightly', KEY)}"
    job["metadata"]["uid"] = "77"
    copy = secret_copy(job, {"token": "eA=="})
    assert copy["metadata"]["ownerReferences"] == [
        {"apiVersion": "batch/v1", "kind": "Job", "name": job_name("nightly", KEY), "uid": "77"}
    ]


@pytest.mark.parametrize(
    ("action", "stays"),
    [
        ({}, False),
        (
            {"podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1]}}]}},
            False,
        ),
        ({"backoffLimit": 1}, True),
        ({"podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": []}]}}, True),
        ({"clonerImage": "mine:1"}, True),
    ],
    ids=["plain", "fails", "repeated", "ignored", "another cloner"],
)
def test_a_copy_stays_to_the_end_where_another_pod_may_need_it(action, stays):
    """Else it is optional to the pod, whose cloner waits for the files; the Job read back says which."""
    keys = SecretKeys(namespace="vault", name="cred", files={"tok": "token"}, optional=("known_hosts",))
    job = made(action, clone=Clone(pointer=SHARED, description="{}", secrets=(keys,)))
    [volume] = [v for v in pod(job)["volumes"] if "projected" in v]
    first, second = volume["projected"]["sources"]
    assert (first["secret"].get("optional", False), second["secret"]["optional"]) == (not stays, True)
    assert JobView.of(job).keeps_copy == stays
    [cloner] = pod(job)["initContainers"]
    always = {"GIT_EVENTS_RUNNER_SOURCE", "GIT_EVENTS_RUNNER_PREVIOUS_COMMIT", "GIT_EVENTS_RUNNER_CHANGES"}
    assert {v["name"] for v in cloner["env"]} == always | {"GIT_EVENTS_RUNNER_WAIT_SECONDS"}
    assert {v["name"] for v in pod(made(action))["initContainers"][0]["env"]} == always


def test_no_token_on_the_pod_and_one_for_the_worker_only_with_an_account():
    """Automounting is off; a named account's token is at the usual path in the worker alone."""
    assert pod(made())["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in pod(made())
    job = made({"serviceAccount": "deployer"})
    assert pod(job)["serviceAccountName"] == "deployer"
    paths = [m["mountPath"] for m in pod(job)["containers"][0]["volumeMounts"]]
    assert "/var/run/secrets/kubernetes.io/serviceaccount" in paths
    paths = [m["mountPath"] for m in pod(job)["initContainers"][0]["volumeMounts"]]
    assert "/var/run/secrets/kubernetes.io/serviceaccount" not in paths


def test_tracking_labels_win_and_stand_on_the_pod_too():
    """A user's label cannot hide a Job from its trigger."""
    job = made({"labels": {"git-events-runner.rs/trigger-name": "mine", "team": "x"}, "annotations": {"note": "y"}})
    for metadata in (job["metadata"], job["spec"]["template"]["metadata"]):
        assert metadata["labels"]["git-events-runner.rs/trigger-name"] == "nightly"
        assert metadata["labels"]["team"] == "x"
        assert metadata["annotations"]["note"] == "y"
    assert len([name for name in job["metadata"]["labels"] if name.startswith("git-events-runner.rs/")]) == 7


def test_an_action_cannot_say_what_is_read_back_from_a_job():
    """The ledger's annotations are ours alone, also those that a run has no value for."""
    names = ("run", "commit", "file-hash", "needs-secret", "deliveries", "task-ids", "trigger-name", "occurrence")
    said = {f"git-events-runner.rs/{name}": "copy" for name in names}
    job = made({"annotations": {**said, "note": "y"}}, task_ids=())
    view = JobView.of(job)
    assert (view.run, view.commit, view.file_hash, view.needs_secret) == (KEY, "a" * 40, None, False)
    assert "copy" not in job["spec"]["template"]["metadata"]["annotations"].values()
    assert job["metadata"]["annotations"]["note"] == "y"


def test_a_long_name_is_cut_in_the_label_and_whole_in_the_annotation():
    """Labels end at 63 characters; a digest keeps them apart."""
    name = "n" * 80
    job = made(trigger=Ref("WebhookTrigger", "team", name))
    assert len(job["metadata"]["labels"]["git-events-runner.rs/trigger-name"]) == 63
    assert job["metadata"]["annotations"]["git-events-runner.rs/trigger-name"] == name
    assert label("a" * 80) != label("a" * 81)


@pytest.mark.parametrize(("restricted", "expected"), [(False, None), (True, True)])
def test_the_cloner_is_always_restricted_the_worker_where_wanted(restricted, expected):
    """The cloner satisfies the restricted standard; the worker where its namespace enforces it."""
    job = made(security=Security(restricted=restricted))
    cloner, worker = pod(job)["initContainers"][0], pod(job)["containers"][0]
    assert cloner["securityContext"]["runAsNonRoot"] is True
    assert cloner["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert worker.get("securityContext", {}).get("runAsNonRoot") is expected


OPENSHIFT = {"annotations": {"openshift.io/sa.scc.uid-range": "1000650000/10000"}}
ENFORCED = {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}


@pytest.mark.parametrize(
    ("wanted", "namespace", "restricted", "assigned"),
    [
        ("auto", {}, False, False),
        ("auto", ENFORCED, True, False),
        ("auto", {"labels": {"pod-security.kubernetes.io/enforce": "baseline"}}, False, False),
        ("auto", OPENSHIFT, False, True),
        ("auto", OPENSHIFT | ENFORCED, True, True),
        ("restricted", {}, True, False),
        ("restricted", OPENSHIFT, True, True),
        ("compatible", ENFORCED, False, False),
        ("compatible", OPENSHIFT, False, True),
        ("openshift", {}, False, True),
        ("openshift", ENFORCED, True, True),
    ],
)
def test_what_pods_have_to_satisfy(wanted, namespace, restricted, assigned):
    """The namespace says it, unless the runtime config does; ids are OpenShift's in each namespace of OpenShift."""
    assert Security.of(wanted, namespace) == Security(restricted=restricted, assigned_ids=assigned)


@pytest.mark.parametrize("restricted", [True, False])
def test_where_the_cluster_assigns_ids_a_pod_names_none(restricted):
    """As OpenShift's restricted-v2 demands; those that an Action names are the user's own."""
    security = Security(restricted=restricted, assigned_ids=True)
    ids = {"runAsUser", "runAsGroup", "fsGroup", "supplementalGroups"}
    spec = pod(made(security=security))
    contexts = [spec["securityContext"], *(c.get("securityContext", {}) for c in spec["initContainers"])]
    contexts += [container.get("securityContext", {}) for container in spec["containers"]]
    assert not [context for context in contexts if ids & set(context)]
    assert contexts[1] == {name: text for name, text in CLONER.items() if name != "runAsUser"}
    own = {"fsGroup": 1000650000, "runAsUser": 1000650000}
    spec = pod(made({"podSecurityContext": own}, security=security))
    assert spec["securityContext"]["fsGroup"] == 1000650000
    assert spec["containers"][0]["securityContext"]["runAsUser"] == 1000650000
    assert "runAsUser" not in spec["initContainers"][0]["securityContext"]


CLONER = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def test_elsewhere_the_cloner_has_a_user_and_the_volume_a_group():
    """So that an image without a numeric user runs, and both containers may write."""
    spec = pod(made())
    assert spec["initContainers"][0]["securityContext"] == CLONER
    assert spec["securityContext"] == {"fsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}}


def test_what_the_action_says_passes_through():
    """Images, command, args, node selector, tolerations, affinity and time limits."""
    job = made(
        {
            "workdir": "/w",
            "clonerImage": "c:2",
            "actionImage": "w:2",
            "command": ["sh"],
            "args": ["-c", "echo $(ACTION_JOB_WORKDIR)"],
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "k", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "activeDeadlineSeconds": 5,
            "ttlSecondsAfterFinished": 6,
            "jobWaitingTimeoutSeconds": 0,
        }
    )
    worker = pod(job)["containers"][0]
    assert (worker["image"], worker["command"], worker["args"]) == ("w:2", ["sh"], ["-c", "echo $(ACTION_JOB_WORKDIR)"])
    assert worker["workingDir"] == "/w"
    assert pod(job)["initContainers"][0]["image"] == "c:2"
    assert pod(job)["nodeSelector"] == {"disk": "ssd"}
    assert pod(job)["tolerations"] == [{"key": "k", "operator": "Exists"}]
    assert pod(job)["affinity"] == {"nodeAffinity": {}}
    view = JobView.of(job)
    assert (job["spec"]["activeDeadlineSeconds"], view.ttl_s, view.waiting_timeout_s) == (5, 6, 0)


def test_a_job_of_kueue_is_kueues_to_start():
    """Its queue-name label makes us create it suspended and leave it so."""
    job = made({"labels": {"kueue.x-k8s.io/queue-name": "q"}})
    assert job["spec"]["suspend"] is True
    assert JobView.of(job).queued_elsewhere
    assert (JobView.of(job).admission, JobView.of(job).phase) == ("elsewhere", "Queued")


def test_who_admits_a_job_stands_on_it():
    """On the Job alone, never on its pod, and no Action can say otherwise."""
    mark = "git-events-runner.rs/admission"
    for suspend, word in ((True, "waiting"), (False, "admitted")):
        job = made({"annotations": {mark: "waiting"}}, suspend=suspend)
        assert (job["metadata"]["annotations"][mark], job["spec"]["suspend"]) == (word, suspend)
        assert mark not in job["spec"]["template"]["metadata"]["annotations"]


@pytest.mark.parametrize(
    ("spec", "elsewhere"),
    [({}, False), ({"managedBy": "kubernetes.io/job-controller"}, False), ({"managedBy": "kueue.x-k8s.io/x"}, True)],
)
def test_a_job_that_another_controller_manages_is_its_to_admit(spec, elsewhere):
    """`managedBy`, as Kueue sets it for other clusters."""
    job = made(suspend=True)
    view = JobView.of({**job, "spec": job["spec"] | spec})
    assert (view.queued_elsewhere, view.waits) == (elsewhere, not elsewhere)


@pytest.mark.parametrize(
    ("word", "status", "phase"),
    [
        ("waiting", {}, "Queued"),
        ("waiting", {"conditions": [{"type": "Suspended", "status": "True"}]}, "Queued"),
        (None, {}, "Queued"),
        ("admitted", {}, "Suspended"),
        ("elsewhere", {}, "Suspended"),
        ("made up", {}, "Suspended"),
        *(
            (word, status, "Suspended")
            for word in ("waiting", None)
            for status in (
                {"startTime": "2026-05-06T07:08:09Z"},
                {"conditions": [{"type": "Suspended", "status": "False", "reason": "JobResumed"}]},
            )
        ),
    ],
)
def test_only_a_suspension_of_ours_is_waiting(word, status, phase):
    """A Job that was started once, or that we did not suspend, is another party's."""
    job = made(suspend=True)
    annotations = {name: text for name, text in job["metadata"]["annotations"].items() if "admission" not in name}
    if word:
        annotations["git-events-runner.rs/admission"] = word
    view = JobView.of({**job, "metadata": job["metadata"] | {"annotations": annotations}, "status": status})
    assert (view.phase, view.waits) == (phase, phase == "Queued")


def test_the_cloners_share_is_the_configs():
    """Size of the volume and resources of the init container are as the runtime config says; the worker's are not."""
    limits = {"limits": {"cpu": "1", "memory": "1Gi"}}
    job = pod(made(defaults=replace(DEFAULTS, workdir_size_limit="4Gi", cloner_resources=limits)))
    assert job["volumes"][0] == {"name": "action-workdir", "emptyDir": {"sizeLimit": "4Gi"}}
    assert job["initContainers"][0]["resources"] == limits
    assert "resources" not in job["containers"][0]
    plain = pod(made())
    assert plain["volumes"][0]["emptyDir"] == {}
    assert "resources" not in plain["initContainers"][0]


def test_no_job_runs_longer_than_the_installation_allows():
    """The bound holds for the Action's own time and for the default; 0 is none."""
    for own, longest, expected in ((9999, 600, 600), (300, 600, 300), (None, 600, 600), (9999, 0, 9999)):
        bounded = replace(DEFAULTS, max_active_deadline_s=longest)
        assert made({"activeDeadlineSeconds": own}, bounded)["spec"]["activeDeadlineSeconds"] == expected


def test_a_run_names_the_last_200_tasks_that_it_answers():
    """A storm that is merged into one run must not make its Job too large for the API server."""
    tasks = tuple(f"t{number}" for number in range(9000))
    noted = made(task_ids=tasks)["metadata"]["annotations"]
    assert noted["git-events-runner.rs/task-ids"].split(",") == list(tasks[-200:])


@pytest.mark.parametrize("isolated", [True, False])
def test_a_run_of_a_fork_has_no_service_account(isolated):
    """Neither the pod nor a token: the account of the runtime config is for code of the repository itself."""
    defaults = replace(DEFAULTS, service_account="runner")
    found = pod(made(defaults=defaults, pull=PullRequestOfRun(number="7", target="main", isolated=isolated)))
    tokens = [volume for volume in found["volumes"] if volume["name"] == "git-events-runner-token"]
    assert (found.get("serviceAccountName"), len(tokens)) == ((None, 0) if isolated else ("runner", 1))
