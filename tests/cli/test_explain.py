"""`explain`: the first line names the cause, with what to do, for each reason for which a run may be missing."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import jsonschema
import pytest

from git_events_runner.cli.models import ExplanationOut
from git_events_runner.resources.job import RunKey, job_name
from git_events_runner.resources.queuemarks import ConcurrencyLimit
from git_events_runner.rules.check_result import CheckResult
from git_events_runner.rules.ledger.mutations import Outcome
from git_events_runner.rules.reference_entries import digest_of
from git_events_runner.rules.waits import REASONS, Hold, ShowWaiting

SHA, OTHER = "a" * 40, "b" * 40
KEY = b"0123456789abcdef0123456789abcdef"
GROUP = "git-events-runner.rs"


def at(seconds=0):
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="seconds").replace("+00:00", "Z")


def condition(kind, reason, message):
    return {"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": at(-60)}


def entry(commit=SHA, job_commit=SHA, phase="Succeeded", **more):
    last = {"name": "nightly-x", "phase": phase, "commit": job_commit}
    return {"commitHash": commit, "changed": at(-3600), "runs": 1, "answeredAt": at(-60), "lastJob": last, **more}


def status(*conditions, **entries):
    found = entries or {"app": entry()}
    return {"state": "Idle", "observedGeneration": 1, "checkedSources": found, "conditions": list(conditions)}


async def job(cluster, trigger, number, *, suspend=False, namespace="default", annotations=None, started=None, **facts):
    """A Job of a run, as the controller creates it."""
    name = trigger["metadata"]["name"]
    run = RunKey(trigger_uid=trigger["metadata"]["uid"], source="app", number=number)
    waits = {f"{GROUP}/admission": "waiting" if suspend else "admitted"}
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "w", "image": "x"}]}}
    stored = await cluster.create(
        "Job",
        job_name(name, run),
        {"suspend": suspend, "template": template},
        namespace=namespace,
        labels={
            f"{GROUP}/trigger-kind": trigger["kind"],
            f"{GROUP}/trigger-name": name,
            f"{GROUP}/controller-identity": "c",
        },
        annotations={f"{GROUP}/run": str(run), f"{GROUP}/commit": SHA, **waits, **(annotations or {})},
        status={"startTime": started or at(-5), "active": 1, **facts} if not suspend else None,
    )
    return stored["metadata"]["name"]


async def secret(cluster, name, key=KEY):
    await cluster.create("Secret", name, {"data": {"token": base64.b64encode(key).decode()}})


AUTH = {
    "webhook": {"multiSource": True, "authConfig": {"type": "github", "secretRef": {"name": "hook"}, "key": "token"}}
}
PUSH = {
    "ref": "refs/heads/main",
    "after": OTHER,
    "repository": {"clone_url": "https://git.example.com/team/app.git"},
}


async def delivered(cluster, tmp_path, payload, *, key=KEY, sign=True, event="push"):
    """The words of `explain` for a delivery of GitHub."""
    body = json.dumps(payload).encode()
    file = tmp_path / "payload.json"
    file.write_bytes(body)
    digest = hmac.new(key, body, hashlib.sha256).hexdigest()
    signature = ["--header", f"X-Hub-Signature-256: sha256={digest}"] if sign else []
    return ["wt/hook", "--payload", str(file), "--header", f"X-GitHub-Event: {event}", *signature]


async def wrong_branch(cluster, tmp_path):
    problem = condition("Stalled", "ReferenceNotFound", "source app: branch main does not exist")
    await cluster.trigger(status=status(problem))


async def files_filter(cluster, tmp_path):
    await cluster.trigger(watch={"files": ["docs/**"]}, status=status(app=entry(commit=OTHER)))


async def window(cluster, tmp_path):
    await cluster.trigger(status=held(CheckResult.WAIT_WINDOW))


async def debounce(cluster, tmp_path):
    await cluster.trigger(status=held(CheckResult.WAIT_DEBOUNCE))


async def cooldown(cluster, tmp_path):
    await cluster.trigger(status=held(CheckResult.WAIT_COOLDOWN, announced={"commit": OTHER, "at": at(-10)}))


def held(result, name="app", **more):
    """The status of a trigger of which a change waits, by the rules that record it."""
    stored = status(**{name: entry(requested=2, handled=1, **more)})
    since = dict.fromkeys(("since", "moved"), at(-5))
    hold = Hold(
        source=name, expected=(1, SHA), reason=REASONS[result], commit=OTHER, until="2030-01-01T08:00:00Z", **since
    )
    assert hold.apply(stored) is ShowWaiting(generation=1, now=at()).apply(stored) is Outcome.WRITE
    return stored


async def suspended(cluster, tmp_path):
    await cluster.trigger(suspend=True, status=status())


async def group_busy(cluster, tmp_path):
    other = await cluster.trigger("other", status=status())
    group = ConcurrencyLimit(policy="Queue", group="terraform", limit=1).annotations
    await job(cluster, other, 1, annotations=group)
    mine = await cluster.trigger(status=status(app=entry(phase="Queued")))
    await job(cluster, mine, 1, suspend=True, annotations=group)


async def slot_busy(cluster, tmp_path):
    await cluster.create(
        "ConfigMap", "git-events-runner-config", {"data": {"runtimeConfig": "action: {maxRunningJobs: 1}"}}
    )
    other = await cluster.trigger("other", status=status())
    await job(cluster, other, 1)
    mine = await cluster.trigger(status=status(app=entry(phase="Queued")))
    await job(cluster, mine, 1, suspend=True)
    return ["nightly", "--controller-namespace", "default"]


async def quota(cluster, tmp_path):
    problem = condition("Reconciling", "QuotaExceeded", "source app: exceeded quota: none, limited: count/jobs.batch=0")
    await cluster.trigger(status=status(problem))


async def host_back_off(cluster, tmp_path):
    problem = condition("Reconciling", "RateLimited", "source app: git.example.com throttles (429), Retry-After 600 s")
    await cluster.trigger(status=status(problem))


async def credential(cluster, tmp_path):
    problem = condition("Stalled", "AuthenticationFailed", "source app: the credential is not accepted")
    await cluster.trigger(status=status(problem))


async def host_key(cluster, tmp_path):
    problem = condition("Stalled", "HostKeyChanged", "source app: git.example.com shows another host key")
    await cluster.trigger(status=status(problem))


async def secret_too_short(cluster, tmp_path):
    await secret(cluster, "hook", b"short")
    await cluster.trigger("hook", "WebhookTrigger", status={"observedGeneration": 1}, **AUTH)
    return ["wt/hook"]


async def delivery_ignored(cluster, tmp_path):
    await secret(cluster, "hook")
    await cluster.trigger("hook", "WebhookTrigger", **AUTH)
    return await delivered(cluster, tmp_path, PUSH | {"ref": "refs/tags/v1"})


async def signature_wrong(cluster, tmp_path):
    await secret(cluster, "hook")
    await cluster.trigger("hook", "WebhookTrigger", **AUTH)
    return await delivered(cluster, tmp_path, PUSH, key=b"another")


async def other_reference(cluster, tmp_path):
    await secret(cluster, "hook")
    await cluster.trigger("hook", "WebhookTrigger", watch={"reference": {"branch": "release"}}, **AUTH)
    return await delivered(cluster, tmp_path, PUSH)


async def announced_not_shown(cluster, tmp_path):
    open_ = {"requested": 2, "handled": 1, "announced": {"commit": OTHER, "at": at(-10)}}
    await cluster.trigger(status=status(app=entry(**open_)))


async def policy(cluster, tmp_path):
    allow = "action: {actionsMayName: {serviceAccounts: [deployer]}}"
    await cluster.create("ConfigMap", "git-events-runner-config", {"data": {"runtimeConfig": allow}})
    await cluster.create("Action", "admin", {"actionJob": {"serviceAccount": "admin"}})
    await cluster.trigger(action={"kind": "Action", "name": "admin"}, status=status())
    return ["nightly", "--controller-namespace", "default"]


async def interval_too_short(cluster, tmp_path):
    least = "policy: {minimumIntervalSeconds: 600}"
    await cluster.create("ConfigMap", "git-events-runner-config", {"data": {"runtimeConfig": least}})
    await cluster.trigger(schedule={"interval": "30s"}, status=status())
    return ["nightly", "--controller-namespace", "default"]


async def other_namespace(cluster, tmp_path):
    await cluster.create("Namespace", "team")
    await cluster.create("GitRepo", "lib", {"repoUri": "https://git.example.com/team/lib.git"}, namespace="team")
    sources = {"names": ["lib"], "watchOn": {"onChangeOnly": True}}
    await cluster.trigger(sources=sources, status={"observedGeneration": 1})


async def job_deleted(cluster, tmp_path):
    await cluster.trigger(status=status(app=entry(phase="Deleted")))


async def not_starting(cluster, tmp_path):
    trigger = await cluster.trigger(status=status(app=entry(phase="Running")))
    await job(cluster, trigger, 1, started=at(-3600))


async def put_back(cluster, tmp_path):
    trigger = await cluster.trigger(status=status(app=entry(phase="Queued")))
    marks = {f"{GROUP}/admission": "requeued", f"{GROUP}/requeues": "2", f"{GROUP}/requeued-at": at(-5)}
    await job(cluster, trigger, 1, suspend=True, annotations=marks)


RUN_NOW = "it starts then by itself; to run it now: git-events-runner trigger scheduletrigger/nightly -n default --run"
PUZZLES = {
    wrong_branch: ["branch main does not exist", "correct spec.sources.watchOn.reference"],
    files_filter: ["commit bbbbbbbbbbbb changes no file", "correct the patterns"],
    window: ["OutsideWindows: source app: commit bbbbbbbbbbbb waits: ", "2030-01-01T08:00:00Z", RUN_NOW],
    debounce: ["Debounce: source app: commit bbbbbbbbbbbb waits: ", "it runs at 2030-01-01T08:00:00Z; to run it now: "],
    cooldown: ["Cooldown: source app: commit bbbbbbbbbbbb waits: ", "starts at 2030-01-01T08:00:00Z; to run it now: "],
    suspended: ["the trigger is suspended", "resume it: git-events-runner resume scheduletrigger/nightly -n default"],
    group_busy: ["waits for other-", "of its concurrency group terraform", "it starts when that run ends"],
    slot_busy: ["waits for a slot: the only one is held by Job other-", "raise action.maxRunningJobs"],
    quota: ["QuotaExceeded", "count/jobs.batch=0", "raise the namespace's ResourceQuota"],
    host_back_off: ["RateLimited: source app: git.example.com throttles (429)", "check less often"],
    credential: ["AuthenticationFailed", "put a valid credential"],
    host_key: ["HostKeyChanged", "compare the new key", "docs/ssh.md"],
    secret_too_short: ["key token of Secret hook has fewer than 16 bytes", "use a secret of at least 16 random bytes"],
    delivery_ignored: ["gets 200 and is ignored: refs/heads/main is not among the changed references", "correct"],
    signature_wrong: ["gets 403", "wrong signature", "key token of Secret hook"],
    other_reference: ["ignored: refs/heads/release is not among", "spec.sources.watchOn.reference"],
    announced_not_shown: ["commit bbbbbbbbbbbb was announced", "does not show it yet", "a mirror may be late"],
    policy: ["names the service account admin, which the installation does not allow", "use one of deployer"],
    interval_too_short: ["is scheduled every 30 s; the installation allows 600 s", "minimumIntervalSeconds"],
    other_namespace: [
        "GitRepo default/lib does not exist",
        "there is one in team, which triggers of default cannot use",
    ],
    not_starting: ["no pod of Job nightly-", "has started since", "its pod is not ready: the image may be missing"],
    put_back: ["no pod of Job nightly-", "tried again from ", "kubectl describe job shows the cause"],
    job_deleted: ["Job nightly-x was deleted before it ended", "rerun scheduletrigger/nightly -n default"],
}


@pytest.mark.parametrize("puzzle", PUZZLES, ids=lambda one: one.__name__)
async def test_the_first_line_names_the_cause(cluster, tmp_path, puzzle):
    """Of a run that is missing, the first line has the cause and what to do; no secret is printed."""
    await cluster.world()
    words = await puzzle(cluster, tmp_path) or ["nightly"]
    done = await cluster.run("explain", *words)
    first = done.out.splitlines()[0]
    for part in PUZZLES[puzzle]:
        assert part in first, done.out
    assert KEY.decode() not in done.out
    assert done.out.splitlines()[2].startswith("  1. ")


async def test_controls_of_runs_are_shown(cluster):
    """What the spec has about when and how runs happen is one of the steps."""
    await cluster.world()
    await cluster.trigger(concurrency={"policy": "Queue", "group": "terraform"}, retry={"limit": 2}, status=status())
    out = (await cluster.run("explain", "nightly")).out
    [line] = [line for line in out.splitlines() if ". control of runs: " in line]
    assert '"group": "terraform"' in line
    assert 'retry {"' in line


async def test_patterns_of_references(cluster, tmp_path):
    """A trigger that watches patterns of references is explained, and so is a delivery to it."""
    await cluster.world()
    await secret(cluster, "hook")
    watch = {"references": {"branches": {"include": ["release/*"]}}}
    sources = {"names": ["app"], "watchOn": {"onChangeOnly": True, **watch}}
    await cluster.trigger("hook", "WebhookTrigger", sources=sources, **AUTH)
    done = await cluster.run("explain", "wt/hook", "--live")
    assert "watches branches release/* of app" in done.out
    for branch, told in (("main", "is ignored"), ("release/1", "gets 202, and branch release/1 of app is checked")):
        words = await delivered(cluster, tmp_path, PUSH | {"ref": f"refs/heads/{branch}"})
        assert told in (await cluster.run("explain", *words)).out.splitlines()[0]


async def test_one_of_two_sources_waits(cluster):
    """What waits is a step of its own source alone."""
    await cluster.world()
    stored = held(CheckResult.WAIT_WINDOW)
    stored["checkedSources"]["lib"] = entry()
    await cluster.trigger(status=stored, sources={"names": ["app", "lib"]})
    await cluster.create("GitRepo", "lib", {"repoUri": "https://git.example.com/team/lib.git"})
    assert (await cluster.run("explain", "nightly")).out.startswith("OutsideWindows: source app: ")
    assert (await cluster.run("explain", "nightly", "--source", "lib")).out.startswith("nothing has changed: ")


async def test_live_shows_each_reference(cluster, repository):
    """Of patterns of references, --live finds those that have moved, are new, or are deleted, each by its name."""
    head = repository.push({"README": "two\n"})
    await cluster.create("GitRepo", "app", {"repoUri": repository.url})
    await cluster.create("Action", "build", {"actionJob": {}})
    watch = {"references": {"branches": {"include": ["*"]}}}
    sources = {"names": ["app"], "watchOn": {"onChangeOnly": True, **watch}}
    listed = {"listedAt": at(-60), "knownReferences": ""}
    for name, entries, told in (
        ("new", {"app": listed}, f"branch main is at {head[:12]}, which was not checked yet"),
        ("known", {"app": listed | {"knownReferences": digest_of("app@heads/main", head)}}, "0 references with an"),
        ("moved", {"app": listed, "app@heads/main": entry()}, f"branch main is at {head[:12]}, which was not"),
        ("gone", {"app": listed, "app@heads/x": entry()}, "git, with your rights: "),
        (
            "same",
            {"app": listed, "app@heads/main": entry(commit=head, job_commit=head)},
            f"branch main is at the recorded commit {head[:12]}",
        ),
    ):
        await cluster.trigger(name, sources=sources, status=status(**entries))
        done = await cluster.run("explain", name, "--live")
        assert done.out.startswith(told), done.out
        assert "git shows 1 reference of the patterns" in done.out
    done = await cluster.run("explain", "moved", "--source", "app@heads/main")
    assert done.out.startswith("nothing has changed: commit aaaaaaaaaaaa")
    assert " with an entry" not in done.out


async def test_its_json(cluster):
    """The JSON fits its schema and has the cause and the steps; the exit code is 1 where something is wrong."""
    await cluster.world()
    await credential(cluster, None)
    done = await cluster.run("explain", "nightly", "-o", "json")
    assert done.code == 1
    jsonschema.validate(done.json, ExplanationOut.model_json_schema(by_alias=True))
    assert done.json["cause"].startswith("AuthenticationFailed: ")
    assert done.json["wrong"] is True


async def test_nothing_changed(cluster):
    """A trigger with nothing to do is explained by that, with exit code 0 and the way to run it now."""
    await cluster.world()
    await cluster.trigger(status=status())
    done = await cluster.run("explain", "nightly")
    assert done.code == 0
    assert done.out.startswith("nothing has changed: commit aaaaaaaaaaaa has its run")


async def test_a_failed_run(cluster):
    """A run that failed is the cause, with the command that shows its log."""
    await cluster.world()
    trigger = await cluster.trigger(status=status(app=entry(phase="Failed")))
    failed = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "lastTransitionTime": at(-1)}
    target = {**failed, "type": "FailureTarget"}
    name = await job(cluster, trigger, 1, active=0, failed=1, conditions=[target, failed])
    done = await cluster.run("explain", "nightly")
    assert done.code == 1
    assert done.out.startswith(f"Job {name} failed at {failed['lastTransitionTime']}; see its log")
    assert "git-events-runner logs scheduletrigger/nightly -n default" in done.out.splitlines()[0]


async def test_without_a_leader(cluster):
    """A Lease that is not renewed is the cause of everything."""
    await cluster.world()
    await cluster.trigger(status=status())
    old = (datetime.now(UTC) - timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    spec = {"holderIdentity": "pod-1", "leaseDurationSeconds": 15, "renewTime": old}
    await cluster.create("Lease", "git-events-runner-leader-lock", spec)
    done = await cluster.run("explain", "nightly", "--controller-namespace", "default")
    assert done.out.startswith("no replica of the controller is the leader since ")


async def test_a_delivery_that_is_accepted(cluster, tmp_path):
    """A signed push of the watched branch gets 202, and its source is checked."""
    await cluster.world()
    await secret(cluster, "hook")
    await cluster.trigger("hook", "WebhookTrigger", **AUTH)
    done = await cluster.run("explain", *await delivered(cluster, tmp_path, PUSH))
    assert (done.code, done.out.splitlines()[0]) == (
        0,
        "it gets 202, and app is checked, which is to be at commit bbbbbbbbbbbb",
    )
    done = await cluster.run("explain", *await delivered(cluster, tmp_path, PUSH, sign=False))
    assert done.out.startswith("it gets 401: the delivery has no signature or secret in header x-hub-signature-256")


async def test_wrong_use(cluster, tmp_path):
    """What cannot be explained ends with 2 and the option to correct."""
    await cluster.world()
    await cluster.trigger()
    for words, told in (
        (["nightly", "--source", "x"], "--source: 'x' is no source of the trigger, which has app"),
        (["nightly", "--payload", "none"], "takes no deliveries"),
        (["nightly", "--header", "A: b"], "--header: belongs to a delivery: add --payload FILE"),
    ):
        done = await cluster.run("explain", *words)
        assert done.code == 2, done
        assert told in done.err


async def test_live_shows_what_git_has(cluster, repository):
    """With --live, a commit that was not checked is found, and a push elsewhere is explained by the reference."""
    await cluster.create("GitRepo", "app", {"repoUri": repository.url})
    await cluster.create("Action", "build", {"actionJob": {}})
    await cluster.trigger(status=status())
    done = await cluster.run("explain", "nightly", "--live")
    assert "which was not checked yet; request a check: git-events-runner trigger" in done.out.splitlines()[0]
    head = repository.push({"README": "two\n"})
    await cluster.trigger("same", status=status(app=entry(commit=head, job_commit=head)))
    done = await cluster.run("explain", "same", "--live")
    assert done.out.startswith(f"branch main is at the recorded commit {head[:12]}: a commit on another reference")
    missing = {"reference": {"branch": "missing"}}
    await cluster.trigger("missing", watch=missing, status=status())
    done = await cluster.run("explain", "missing", "--live")
    assert (done.code, done.out.splitlines()[0].startswith("git, with your rights: ")) == (1, True)


async def test_a_job_that_may_start_and_has_not(cluster):
    """A Job without a start has no time of it."""
    await cluster.world()
    trigger = await cluster.trigger(status=status(app=entry(phase="Running")))
    name = await job(cluster, trigger, 1, startTime=None)
    assert (await cluster.run("explain", "nightly")).out.startswith(f"Job {name} may start, and Kubernetes has not")


async def test_patterns_that_select_nothing(cluster):
    """Patterns without a reference are named with what to push, and no commit is named."""
    await cluster.world()
    watch = {"references": {"tags": {"include": ["v*"], "semver": ">=1.2 <2"}}}
    sources = {"names": ["app"], "watchOn": {"onChangeOnly": True, **watch}}
    await cluster.trigger(sources=sources, status=status(app={"answeredAt": at(-60), "listedAt": at(-60)}))
    first = (await cluster.run("explain", "nightly")).out.splitlines()[0]
    assert first.startswith("0 references with an entry")
    assert first.endswith("; push to tags v* with version >=1.2 <2")


async def test_a_source_without_a_commit(cluster):
    """A source that was checked and has no recorded commit names none."""
    await cluster.world()
    await cluster.trigger(status=status(app={"answeredAt": at(-60)}))
    done = await cluster.run("explain", "nightly")
    assert done.out.startswith(
        "no commit of source app is recorded, and the next check is scheduled; push to branch main"
    )
    assert "none" not in done.out.splitlines()[0]


async def test_a_failed_run_names_its_retry(cluster):
    """A failed run that `spec.retry` starts again has the number of the attempt and its time."""
    await cluster.world()
    trigger = await cluster.trigger(retry={"limit": 2, "backoff": "30m"}, status=status(app=entry(phase="Failed")))
    failed = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "lastTransitionTime": at(-1)}
    facts = {"active": 0, "failed": 1, "conditions": [{**failed, "type": "FailureTarget"}, failed]}
    generation = str(trigger["metadata"]["generation"])
    notes = {f"{GROUP}/trigger-generation": generation, f"{GROUP}/reason": "fire-changed"}
    name = await job(cluster, trigger, 1, annotations=notes, **facts)
    first = (await cluster.run("explain", "nightly")).out.splitlines()[0]
    ended = datetime.fromisoformat(failed["lastTransitionTime"])
    then = (ended + timedelta(minutes=30)).isoformat(timespec="seconds").replace("+00:00", "Z")
    assert first.startswith(
        f"Job {name} failed at {failed['lastTransitionTime']}; attempt 2 of 3 starts at {then}; see"
    )
