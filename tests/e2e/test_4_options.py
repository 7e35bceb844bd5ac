"""Every kind with every option, applied to the running installation: it runs, and the option does what it is for."""

import base64

import pytest

from git_events_runner.resources.crds import crds
from git_events_runner.settings import VERSION
from tests.cluster.api import OURS
from tests.cluster.plane import wait_until
from tests.e2e import option_paths, options, places
from tests.e2e.images import NAMES, REGISTRY
from tests.e2e.notifiers import notifiers
from tests.e2e.options import SETTINGS, TENANT, VAULT, Places
from tests.forges.pulls import pull

_GROUP = "git-events-runner.rs"
_ROWS = options.triggers(Places())


@pytest.mark.parametrize("crd", crds(), ids=lambda crd: crd["spec"]["names"]["kind"])
def test_no_option_is_left_out(crd):
    """What the CRD offers is used by some object below, each value of a short list too."""
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    kind = crd["spec"]["names"]["kind"]
    applied = [*options.applied(Places()), *((each, spec) for (each, _), spec in notifiers().items())]
    given = {option for each, spec in applied if each == kind for option in option_paths.used(spec)}
    refused = {option for option in option_paths.offered(schema) if ".pullRequests" in option}  # by its own rule
    assert set(option_paths.offered(schema)) - given == (refused if kind == "ScheduleTrigger" else set())


def test_no_trigger_is_left_out():
    """Each is looked at by one of the tests below."""
    late = {f"late-{kind.lower()}" for kind in options.LATE}
    told = {
        *options.ROWS,
        *options.MOVING,
        *options.SUSPENDED,
        *options.REFERENCES,
        *options.PULLS,
        *options.RECORDING,
        *options.FIXED,
        *options.FAILING,
        *options.REFUSED,
        *late,
    }
    assert set(_ROWS) == told


def _secret(api, namespace, name, data):
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    api.post(f"/api/v1/namespaces/{namespace}/secrets", {"metadata": {"name": name}, "data": encoded})


@pytest.fixture(scope="module")
def world(cluster, release, tmp_path_factory):
    """Everything of `options.py` in the cluster, every webhook called once; its repositories are pushed to later."""
    api = cluster.api
    for name in ("cloner", "worker"):
        cluster.node.ctr("images", "tag", f"{REGISTRY}/{NAMES[name]}:{VERSION}", f"{REGISTRY}/another-{name}:2")
    with places.served(cluster, tmp_path_factory.mktemp("places")) as found:
        for namespace in (TENANT, VAULT):
            _secret(api, namespace, "login", found.login)
            _secret(api, namespace, "proxy", options.PROXY)
        _secret(api, TENANT, "hooks", options.HOOKS)
        _secret(api, TENANT, "settings", {"FROM_SECRET": "told"})
        place = f"/api/v1/namespaces/{TENANT}"
        api.post(f"{place}/configmaps", {"metadata": {"name": "settings"}, "data": {"file": "from a ConfigMap\n"}})
        api.post(f"{place}/serviceaccounts", {"metadata": {"name": "robot"}})
        api.post("/apis/scheduling.k8s.io/v1/priorityclasses", {"metadata": {"name": "options"}, "value": 8})
        api.post("/apis/node.k8s.io/v1/runtimeclasses", {"metadata": {"name": "options"}, "handler": "runc"})
        for (kind, name), spec in (options.sources(found.places) | options.actions(found.places) | notifiers()).items():
            api.ours(kind, None if kind.startswith("Cluster") else TENANT, name, spec)
        found.rows = options.triggers(found.places)
        for name, row in found.rows.items():
            api.ours(row.kind, TENANT, name, row.trigger)
        for name, row in found.rows.items():
            if row.kind == "WebhookTrigger" and name not in options.RECORDING:
                _call(cluster, release, found.places, name, row)
        yield found
        for name, row in found.rows.items():
            if row.kind == "ScheduleTrigger":
                api.delete(f"{OURS}/namespaces/{TENANT}/scheduletriggers/{name}")


def _call(cluster, release, at, name, row):
    """Call a webhook as its sender does, once its trigger is known."""
    headers, body = row.call(at)
    path = f"/{TENANT}{row.path.format(name=name)}"

    def taken():
        status, text = cluster.webhook(release, path, headers, body)
        assert status in {202, 404}, f"{name}: {status} {text}"
        return status == 202

    wait_until(f"the webhook of {name}", taken)


def _entry(cluster, name, row):
    status = cluster.api.trigger(TENANT, name, row.kind).get("status") or {}
    return (status.get("checkedSources") or {}).get(row.source[1]) or {}


@pytest.mark.parametrize("name", options.ROWS)
def test_it_runs_to_a_finished_job(cluster, world, name):
    """The Job of the trigger's first look succeeds, owned by its action; the worker knows where it comes from."""
    row = world.rows[name]
    job, condition = cluster.finished(TENANT, name)
    assert condition["type"] == "Complete", f"{condition}\n{cluster.told(TENANT)}"
    labels, [owner] = job["metadata"]["labels"], job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == row.action
    for role, (kind, ref) in {"source": row.source, "action": row.action, "trigger": (row.kind, name)}.items():
        assert (labels[f"{_GROUP}/{role}-kind"], labels[f"{_GROUP}/{role}-name"]) == (kind, ref)
    if row.action[1] == "nothing":
        assert not cluster.pod(job)["spec"]["containers"][0].get("command")
        return
    text = cluster.printed(job)
    [(kind, reference)] = (row.watch.get("reference") or {"branch": "main"}).items()
    assert f"_TRIGGER_SOURCE_REF_TYPE={kind}\n" in text
    assert f"_TRIGGER_SOURCE_REF_NAME={reference}\n" in text
    override = options.actions(world.places)[row.action].get("sourceOverride")
    if row.action[1] == "settings":
        assert text.startswith("/work\n")
        return
    expected = next(iter(override["reference"].values())) if override else reference
    assert text.startswith("dev\n" if expected == "dev" else "main\n")
    if override:
        [(kind, reference)] = override["reference"].items()
        assert f"_ACTION_SOURCE_KIND={override['kind']}\n" in text
        assert f"_ACTION_SOURCE_REF_TYPE={kind}\n" in text
        assert f"_ACTION_SOURCE_REF_NAME={reference}\n" in text


def test_each_way_to_a_repository_was_taken(cluster, world):
    """Controller and cloner came with the password, the token through its proxy, the key, and over TLS."""
    for name in ("basic", "token", "ssh", "ca", "lax"):
        for row in (name, f"cluster-{name}"):
            cluster.finished(TENANT, row)
    log = (cluster.git.folder / "access.log").read_text().splitlines()
    basic = base64.b64encode(b"user:pass").decode()
    for url, credential in ((world.places.basic, f"Basic {basic}"), (world.places.token, "Bearer sesame")):
        path = url.removeprefix(cluster.git.url)
        accepted = [line for line in log if f" {path}/" in line and " 200 " in line]
        assert accepted
        assert all(line.endswith(credential) for line in accepted)
    through = base64.b64encode(b"through:the-wall").decode()
    methods = {method for method, _, given in world.seen["http"] if given == f"Basic {through}"}
    assert {"GET", "POST"} <= methods
    assert {given for _, _, given in world.seen["socks5"]} == {"through:the-wall"}
    assert world.sshd.logins >= 3, "controller (one question for both kinds) and two cloners"
    keys = cluster.api.get(f"{OURS}/namespaces/{TENANT}/gitrepos/ssh")["status"]["hostKeys"]
    assert any(key.startswith(f"{world.sshd.place} ") for key in keys)


@pytest.mark.parametrize("name", ["basic", "cluster-basic"])
def test_every_setting_of_an_action_reaches_job_and_pod(cluster, world, name):
    """Images, account, placement, limits, contexts, volumes, variables, deadlines; the cloner's debug and .git."""
    job, _ = cluster.finished(TENANT, name)
    pod = cluster.pod(job)
    spec, [cloner], [worker] = pod["spec"], pod["spec"]["initContainers"], pod["spec"]["containers"]
    assert (cloner["image"], worker["image"]) == (SETTINGS["clonerImage"], SETTINGS["actionImage"])
    for key in ("command", "args", "resources", "imagePullPolicy"):
        assert worker[key] == SETTINGS[key]
    assert worker["workingDir"] == SETTINGS["workdir"]
    for key in ("nodeSelector", "affinity", "imagePullSecrets", "priorityClassName", "runtimeClassName"):
        assert spec[key] == SETTINGS[key]
    assert spec["priority"] == 8
    assert SETTINGS["tolerations"][0] in spec["tolerations"]
    assert spec["topologySpreadConstraints"] == SETTINGS["topologySpreadConstraints"]
    assert spec["serviceAccountName"] == "robot"
    for metadata in (job["metadata"], pod["metadata"]):
        assert metadata["labels"]["team"] == "blue"
        assert metadata["annotations"]["example.com/note"] == "noted"
    assert job["spec"]["activeDeadlineSeconds"] == 121
    assert job["metadata"]["annotations"][f"{_GROUP}/waiting-timeout-seconds"] == "601"
    path = f"/apis/batch/v1/namespaces/{TENANT}/jobs/{job['metadata']['name']}"
    wait_until("the Job's TTL", lambda: cluster.api.get(path)["spec"].get("ttlSecondsAfterFinished") == 901)
    text = cluster.printed(job)
    assert text.startswith("/work\n.git\nfrom a ConfigMap\nblue|told\n")
    assert "4321" in text.splitlines()[4].split()
    assert "\ntoken\n" in text
    assert "read-only\n" in text
    debug = cluster.printed(job, "action-cloner")
    assert len(debug.splitlines()) > 1, debug


@pytest.mark.parametrize("name", options.FIXED)
def test_a_commit_is_watched(cluster, world, name):
    """It runs once."""
    job, condition = cluster.finished(TENANT, name)
    assert condition["type"] == "Complete"
    assert job["metadata"]["annotations"][f"{_GROUP}/commit"] == world.places.main
    assert "ACTION_JOB_TRIGGER_SOURCE_REF_TYPE=commit\n" in cluster.printed(job)


@pytest.mark.parametrize("name", options.FAILING)
def test_backoff_limit_and_failure_policy_decide_about_a_failed_worker(cluster, world, name):
    """A second pod within the limit; none where the Action's rule says so, although the limit allows three."""
    _, reason, pods = options.FAILING[name]
    job, condition = cluster.finished(TENANT, name)
    assert (condition["type"], condition["reason"]) == ("Failed", reason)
    assert job["status"]["failed"] == pods


@pytest.mark.parametrize("kind", options.LATE)
def test_a_job_that_is_too_late_fails_and_goes(cluster, world, kind):
    """An image that is always pulled, and no registry has: the deadline ends the Job, its TTL removes it."""
    name = f"late-{kind.lower()}"
    row = world.rows[name]

    def failed():
        job = _entry(cluster, name, row).get("lastJob") or {}
        return job.get("phase") == "Failed" and job

    job = wait_until("the Job's end in the status", failed, timeout_s=60)
    events = cluster.api.items(f"/api/v1/namespaces/{TENANT}/events")
    told = [e for e in events if e["involvedObject"].get("name", "").startswith(job["name"])]
    assert any(e["reason"] == "Pulling" and "action-worker" in e["message"] for e in told), told
    assert any(e["reason"] == "DeadlineExceeded" for e in told), told
    wait_until("the Job is gone", lambda: not cluster.api.jobs(TENANT, name))


@pytest.mark.parametrize("name", options.REFUSED)
def test_what_is_not_allowed_has_no_job_and_a_condition(cluster, world, name):
    """A certificate of an unknown CA; a namespace that a cluster-wide object does not name."""
    row, reason = world.rows[name], options.REFUSED[name][1]

    def told():
        status = cluster.api.trigger(TENANT, name, row.kind).get("status") or {}
        conditions = {c["type"]: c for c in status.get("conditions") or ()}
        return conditions.get("Ready", {}).get("reason") == reason and conditions["Ready"]

    assert wait_until(f"the condition of {name}", told)["status"] == "False"
    assert not cluster.api.jobs(TENANT, name)


def test_only_selected_files_make_a_scheduled_run(cluster, world):
    """A push beside them is looked at, and does not run; one among them does."""
    before, _ = cluster.finished(TENANT, "files")
    world.moving.push({"docs/x": "1\n", "src/notes": "1\n"})
    asked = len(cluster.git.requests(world.moving))
    wait_until("the next looks", lambda: len(cluster.git.requests(world.moving)) >= asked + 8)
    assert [job["metadata"]["name"] for job in cluster.api.jobs(TENANT, "files")] == [before["metadata"]["name"]]
    commit = world.moving.push({"src/code": "1\n"})
    job, condition = cluster.finished(TENANT, "files", 2)
    assert condition["type"] == "Complete"
    assert job["metadata"]["annotations"][f"{_GROUP}/commit"] == commit


def test_only_selected_files_make_a_run_of_a_webhook(cluster, release, world):
    """As by schedule: the request is answered, and there is no second Job until a file that counts differs."""
    row = world.rows["hook-files"]
    cluster.finished(TENANT, "hook-files")
    world.called.push({"docs/x": "2\n", "src/notes": "2\n"})
    _call(cluster, release, world.places, "hook-files", row)
    wait_until("the request is handled", lambda: _entry(cluster, "hook-files", row).get("handled") == 2)
    assert len(cluster.api.jobs(TENANT, "hook-files")) == 1
    commit = world.called.push({"src/code": "2\n"})
    _call(cluster, release, world.places, "hook-files", row)
    job, condition = cluster.finished(TENANT, "hook-files", 2)
    assert condition["type"] == "Complete"
    assert job["metadata"]["annotations"][f"{_GROUP}/commit"] == commit


def test_a_moved_tag_runs(cluster, world):
    """By a cron expression with seconds; pushes to the branch do not count."""
    cluster.finished(TENANT, "moved-tag")
    commit = world.moving.push({"README": "main\n", "more": "x\n"})
    world.moving.tag("v1", annotated=True)
    job, condition = cluster.finished(TENANT, "moved-tag", 2)
    assert condition["type"] == "Complete"
    assert job["metadata"]["annotations"][f"{_GROUP}/commit"] == commit
    assert len(cluster.api.jobs(TENANT, "moved-tag")) == 2


def test_without_change_only_every_look_and_every_request_runs(cluster, release, world):
    """`onChangeOnly: false`: the same commit twice, by the clock and by a second request."""
    _, condition = cluster.finished(TENANT, "always", 2)
    assert condition["type"] == "Complete"
    cluster.api.delete(f"{OURS}/namespaces/{TENANT}/scheduletriggers/always")
    world.rows.pop("always")
    cluster.finished(TENANT, "hook-always")
    _call(cluster, release, world.places, "hook-always", world.rows["hook-always"])
    job, condition = cluster.finished(TENANT, "hook-always", 2)
    assert condition["type"] == "Complete"
    assert "ACTION_JOB_ACTION_SOURCE_REF_TYPE=commit\n" in cluster.printed(job)


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("one-source", {}, 400),
        ("one-source/other", {}, 404),
        ("none", {}, 404),
        ("basic", {}, 401),
        ("basic", {"x-own": "wrong"}, 403),
        ("basic", {"x-trigger-auth": options.HOOKS["secret"]}, 401),
    ],
)
def test_a_webhook_that_is_called_wrongly_says_so(cluster, release, world, path, headers, status):
    """Only one source at a time, unknown names, no secret, a wrong one, one in another header."""
    assert cluster.webhook(release, f"/{TENANT}/{path}", headers)[0] == status


@pytest.mark.parametrize("name", options.SUSPENDED)
def test_a_suspended_trigger_runs_what_is_asked_for_and_the_rest_when_it_is_resumed(cluster, world, name):
    """No Job by schedule or webhook; one by annotation, with the token; what was recorded is checked on resume."""
    row = world.rows[name]
    path = f"{OURS}/namespaces/{TENANT}/{row.kind.lower()}s/{name}"
    assert cluster.api.jobs(TENANT, name) == []
    cluster.api.patch(path, {"metadata": {"annotations": {f"{_GROUP}/run-requested-at": "token-1"}}})
    job, condition = cluster.finished(TENANT, name)
    assert condition["type"] == "Complete"
    assert job["metadata"]["annotations"][f"{_GROUP}/reason"] == "fire-requested"
    assert job["metadata"]["annotations"][f"{_GROUP}/run-requested-at"] == "token-1"
    cluster.api.patch(path, {"spec": {"suspend": False}})

    def resumed():
        entry = _entry(cluster, name, row)
        return entry.get("requested") and entry["requested"] == entry["handled"]

    cluster.api.patch(path, {"metadata": {"annotations": {f"{_GROUP}/requested-at": "token-2"}}})
    wait_until("it is checked", resumed)
    assert len(cluster.api.jobs(TENANT, name)) == 1


@pytest.mark.parametrize("name", options.REFERENCES)
def test_a_reference_that_appears_runs_and_its_deletion_runs_once(cluster, world, name):
    """What existed before is recorded; of a new branch or version there is one Job, and one when it is deleted."""
    row = world.rows[name]
    repository = world.moving if row.source[1] == "moving" else world.called
    wait_until("the first list", lambda: _entry(cluster, name, row).get("listedAt"), timeout_s=60)
    assert cluster.api.jobs(TENANT, name) == []
    if "branches" in name:
        commit, ref = repository.push({"file": name}, branch=f"release/{name}"), f"refs/heads/release/{name}"
    else:
        repository.tag("v1.3.0")
        commit, ref = repository.head(), "refs/tags/v1.3.0"
    job, condition = cluster.finished(TENANT, name)
    assert condition["type"] == "Complete"
    assert job["metadata"]["annotations"][f"{_GROUP}/commit"] == commit
    assert job["metadata"]["annotations"][f"{_GROUP}/reason"] == "fire-first"
    repository.git("update-ref", "-d", ref)
    deletion, _ = cluster.finished(TENANT, name, 2)
    assert deletion["metadata"]["annotations"][f"{_GROUP}/commit"] == commit
    assert deletion["metadata"]["annotations"][f"{_GROUP}/reason"] == "fire-deleted"
    assert len(cluster.api.jobs(TENANT, name)) == 2


@pytest.mark.parametrize("name", options.PULLS)
def test_a_pull_request_runs_when_it_is_opened_and_once_when_it_is_closed(cluster, release, world, name):
    """Of the repository itself and of a fork; the worker gets its number, and the closing runs with the last commit."""
    row = world.rows[name]
    job, condition = cluster.finished(TENANT, name)
    assert condition["type"] == "Complete"
    assert job["metadata"]["annotations"][f"{_GROUP}/commit"] == world.places.called_main
    given = {one["name"]: one.get("value") for one in cluster.pod(job)["spec"]["containers"][0]["env"]}
    assert given["ACTION_JOB_PULL_REQUEST_NUMBER"] == "7"
    forge = row.spec["webhook"]["authConfig"]["type"]
    closed = pull(
        forge,
        "closed",
        fork=name == "hook-forks",
        url=world.places.called,
        secret=options.HOOKS["secret"],
        at="2026-05-06T08:00:00Z",
    )
    assert cluster.webhook(release, f"/{TENANT}/{name}", *closed)[0] == 202
    deletion, _ = cluster.finished(TENANT, name, 2)
    assert deletion["metadata"]["annotations"][f"{_GROUP}/reason"] == "fire-deleted"
    assert deletion["metadata"]["annotations"][f"{_GROUP}/commit"] == world.places.called_main
    assert len(cluster.api.jobs(TENANT, name)) == 2


@pytest.mark.parametrize("name", options.RECORDING)
def test_a_first_check_that_records_runs_the_next_change(cluster, world, name):
    """`firstCheck: Record`: the commit of the first check has no Job, the next one has."""
    row = world.rows[name]
    repository = world.moving if row.source[1] == "moving" else world.called
    wait_until("the first check", lambda: _entry(cluster, name, row).get("commitHash"))
    commit = repository.push({f"recorded-{name}": "1\n"})
    wait_until("the next commit", lambda: _entry(cluster, name, row).get("commitHash") == commit)
    _, condition = cluster.finished(TENANT, name)
    assert condition["type"] == "Complete"
    noted = [each["metadata"]["annotations"] for each in cluster.api.jobs(TENANT, name)]
    assert commit in {one[f"{_GROUP}/commit"] for one in noted}
    assert {one[f"{_GROUP}/reason"] for one in noted} == {"fire-changed"}


def test_a_secret_namespace_on_a_namespaced_source_is_ignored_with_a_warning(cluster, world):
    """The original ignored it; ours says so."""

    def warned():
        events = cluster.api.items(f"/apis/events.k8s.io/v1/namespaces/{TENANT}/events")
        return {e["regarding"]["name"] for e in events if e["reason"] == "SecretNamespaceIgnored"}

    assert wait_until("the warning", warned)
