"""Webhooks through real sockets and the real process: every forge, once, tasks, rotation, faults."""

import base64
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cluster.finisher import Finisher
from tests.cluster.plane import wait_until
from tests.forges import deliveries as d
from tests.patience import timed
from tests.system.conftest import sources
from tests.system.fuzz import fuzz, prepare
from tests.system.sending import Door, requested, secret, send
from tests.system.test_faults import condition, entry


def _kept(after):
    """A commit, or None for a deletion."""
    return None if after == d.ZERO else after


def _cloud(ref="refs/heads/main", after=d.AFTER, **more):
    return d.bitbucket_cloud(("branch", ref.split("/")[2], _kept(after)), **more)


def _data_center_user(ref="refs/heads/main", after=d.AFTER, secret="bob:pass word", **more):
    headers, body = d.bitbucket_server((ref, _kept(after)), **more)
    headers["Authorization"] = "Basic " + base64.b64encode(secret.encode()).decode()
    return {name: value for name, value in headers.items() if name != "X-Hub-Signature"}, body


FORGES = {
    "header": (lambda **_: d.plain(), "header", d.SECRET),
    "github": (d.github, "github", d.SECRET),
    "github-form": (lambda **m: d.github(form=True, **m), "github", d.SECRET),
    "gitea": (d.gitea, "gitea", d.SECRET),
    "forgejo-form": (lambda **m: d.gitea(form=True, name="Forgejo", **m), "gitea", d.SECRET),
    "gitlab": (d.gitlab, "gitlab", d.SECRET),
    "gitlab-signed": (
        lambda secret=d.SECRET, **m: d.gitlab(signed=None if secret == "wrong" else d.SIGNING, secret=secret, **m),
        "gitlab",
        d.SIGNING,
    ),
    "bitbucket-cloud": (_cloud, "bitbucket", d.SECRET),
    "bitbucket-server": (
        lambda ref="refs/heads/main", after=d.AFTER, **m: d.bitbucket_server((ref, _kept(after)), **m),
        "bitbucket",
        d.SECRET,
    ),
    "bitbucket-server-user": (_data_center_user, "bitbucket", "bob:pass word"),
    "azure": (
        lambda ref="refs/heads/main", after=d.AFTER, **m: d.azure((ref, _kept(after)), **m),
        "azure",
        "bob:pass word",
    ),
    "standard-webhooks": (lambda **_: d.standard(), "standard-webhooks", d.SIGNING),
    "hmac": (lambda **_: d.plain_hmac(), "hmac", d.SECRET),
}
READING = [name for name, (_, kind, _) in FORGES.items() if kind not in {"header", "standard-webhooks", "hmac"}]
PROOFS = ("signature", "token", "authorization", "x-trigger-auth")


def hook(api, namespace, name, kind, *, match=False, watch=None, schedule=None, multi=True):
    """A webhook trigger whose Secret bears its name."""
    auth = {"secretRef": {"name": name}, "key": "token"} | ({} if kind == "header" else {"type": kind})
    spec = sources(**(watch or {})) | {"webhook": {"multiSource": multi, "authConfig": auth, "matchRepository": match}}
    api.ours("WebhookTrigger", namespace, name, spec | ({"schedule": {"interval": schedule}} if schedule else {}))


def unproven(found):
    """The delivery without what proves it."""
    headers, body = found
    return {name: value for name, value in headers.items() if not any(p in name.lower() for p in PROOFS)}, body


def test_every_forge_is_verified_counted_once_and_refused_otherwise(
    world, installation, git_server, repository, replicas
):
    """Good 202, again 200, unproven 401, wrong 403, unwatched 200 without git or a write; each head ran once."""
    head, url = repository.head(), repository.url
    for name, (_, kind, value) in FORGES.items():
        secret(world, installation, name, value)
        hook(world, installation, name, kind)
    replica = replicas(0)
    for name in READING:
        make, path = FORGES[name][0], f"/{installation}/{name}"
        other = send(replica, path, make(ref="refs/heads/other", after=head, url=url))
        gone = send(replica, path, make(after=d.ZERO, url=url))
        assert (other.status, gone.status) == (200, 200), name
        assert "not among the changed references" in other.body["message"]
        assert "was deleted" in gone.body["message"]
        assert "task_id" not in gone.body
    assert git_server.requests(repository) == []
    assert not any((world.trigger(installation, name).get("status") or {}).get("checkedSources") for name in FORGES)
    with Finisher(world, installation):
        for name, (make, _, _) in FORGES.items():
            path = f"/{installation}/{name}"
            good = make(after=head, url=url)
            accepted = send(replica, path, good)
            assert accepted.status == 202, (name, accepted)
            assert accepted.body["message"] == "job has been scheduled"
            again = send(replica, path, good)
            if name == "header":  # a plain request has no id: each one counts
                assert again.status == 202
            else:
                assert (again.status, again.task) == (200, accepted.task), name
                assert again.body["message"].startswith("duplicate")
            assert send(replica, path, unproven(good)).status == 401, name
            wrong = make(secret="wrong", url=url) if name in READING else (dict.fromkeys(good[0], "x" * 9), good[1])
            assert send(replica, path, wrong).status == (401 if name == "gitlab-signed" else 403), name
            assert requested(world, installation, name) == (2 if name == "header" else 1)
        for name in FORGES:
            [job] = wait_until(f"the Job of {name}", lambda name=name: world.jobs(installation, name))
            assert job["metadata"]["annotations"]["git-events-runner.rs/commit"] == head
        wait_until("all is answered", lambda: all(_answered(world, installation, name) for name in FORGES))
    assert len(world.jobs(installation)) == len(FORGES)
    assert "Traceback" not in replica.process.text()


def _answered(api, namespace, name):
    found = entry(api, namespace, name)
    return found.get("handled") == found.get("requested")


def test_a_delivery_that_reaches_two_replicas_at_once_is_taken_once(world, installation, repository, replicas):
    """Four copies to both: one 202, the rest 200 with the same task; one Job."""
    secret(world, installation, "hook", d.SECRET)
    hook(world, installation, "hook", "github")
    both = [replicas(0), replicas(1)]
    for _ in range(3):
        found = d.github(after=repository.push({"README": f"{time.time()}\n"}), url=repository.url)
        before = requested(world, installation, "hook")
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda n, found=found: send(both[n % 2], f"/{installation}/hook", found), range(8)))
        assert sorted(answer.status for answer in answers) == [200] * 7 + [202]
        assert len({answer.task for answer in answers}) == 1
        assert requested(world, installation, "hook") == before + 1
        wait_until("it is answered", lambda: _answered(world, installation, "hook"))
    assert len(world.jobs(installation)) == 3


def test_an_announced_commit_that_git_shows_later_runs_once_it_is_shown(world, installation, repository, replicas):
    """The delivery comes first: git is asked again for a while, and nothing else is needed."""
    secret(world, installation, "hook", d.SECRET)
    hook(world, installation, "hook", "github")
    replica = replicas(0)
    assert send(replica, f"/{installation}/hook", d.github(after=repository.head(), url=repository.url)).status == 202
    wait_until("the first Job", lambda: len(world.jobs(installation)) == 1)
    wait_until("it is answered", lambda: _answered(world, installation, "hook"))
    later = repository.push({"README": "later\n"}, branch="later")
    assert send(replica, f"/{installation}/hook", d.github(after=later, url=repository.url)).status == 202
    checks = replica.metric("git_events_runner_trigger_check_count_total")
    wait_until(
        "git was asked again", lambda: replica.metric("git_events_runner_trigger_check_count_total") >= checks + 2
    )
    assert not _answered(world, installation, "hook")
    repository.git("update-ref", "refs/heads/main", later)
    wait_until("the second Job", lambda: len(world.jobs(installation)) == 2, timeout_s=20)
    wait_until("it is answered", lambda: _answered(world, installation, "hook"))


def test_what_became_of_a_task_is_known_on_every_replica_and_after_a_restart(world, installation, repository, replicas):
    """Waiting, running, succeeded, no change; unknown ids are unknown; the secret is needed."""
    secret(world, installation, "hook", d.SECRET)
    hook(world, installation, "hook", "github")
    both = [replicas(0), replicas(1)]
    knows = ({"x-trigger-auth": d.SECRET}, b"")

    def state(task, replica=both[1], headers=knows):
        answer = send(replica, f"/{installation}/hook/tasks/{task}", headers, method="GET")
        return answer.body.get("state") if answer.status == 200 else answer.status

    first = send(both[0], f"/{installation}/hook", d.github(after=repository.head(), url=repository.url)).task
    wait_until("it runs", lambda: state(first) == "running")
    with Finisher(world, installation):
        wait_until("it ended", lambda: state(first) == "succeeded")
    again = send(both[0], f"/{installation}/hook", d.github(after=repository.head(), url=repository.url)).task
    wait_until("nothing had changed", lambda: state(again) == "no change")
    ahead = repository.push({"README": "ahead\n"}, branch="ahead")
    waits = send(both[0], f"/{installation}/hook", d.github(after=ahead, url=repository.url)).task
    wait_until("it waits", lambda: state(waits) == "waiting")
    unknown = "00000000-0000-5000-8000-000000000000"
    assert state(unknown) == 404
    assert state(first, headers=({}, b"")) == 401
    assert state(first, headers=({"x-trigger-auth": "wrong"}, b"")) == 403
    for replica in both:
        replica.terminate()
        assert replica.process.wait() == 0
        replica.restart()
        replica.wait_ready()
    [job] = world.jobs(installation)
    answer = send(both[0], f"/{installation}/hook/tasks/{first}", knows, method="GET")
    assert answer.body["message"] == f"job {job['metadata']['name']} succeeded"
    assert state(again) == "no change"


def test_a_replica_that_dies_after_its_202_is_finished_by_the_leader_and_its_task_is_still_known(
    world, installation, repository, replicas
):
    """The task id is in no memory any more: the Job bears the delivery's hash."""
    secret(world, installation, "hook", d.SECRET)
    hook(world, installation, "hook", "github")
    leader = replicas(0)
    wait_until("it leads", lambda: leader.leads)
    other = replicas(1)
    with timed() as watch:
        task = send(other, f"/{installation}/hook", d.github(after=repository.head(), url=repository.url)).task
        other.kill()
        wait_until("the Job", lambda: world.jobs(installation), timeout_s=90)
    assert watch.fair_s < 32
    knows = ({"x-trigger-auth": d.SECRET}, b"")

    def state():
        return send(leader, f"/{installation}/hook/tasks/{task}", knows, method="GET").body.get("state")

    wait_until("the task runs", lambda: state() == "running")


def test_one_hook_serves_the_triggers_of_a_namespace_each_with_its_own_secret(
    world, installation, git_server, repository, replicas
):
    """`POST /namespace` reaches those that match the repository and know the signature, and nobody else."""
    other = git_server.repository()
    other.push({"README": "other\n"})
    world.ours("GitRepo", installation, "second", {"repoUri": other.url})
    for name, value in (("mine", d.SECRET), ("theirs", "another secret of the house"), ("deaf", d.SECRET)):
        secret(world, installation, name, value)
        hook(world, installation, name, "github", match=name != "deaf")
    spec = sources() | {"webhook": {"multiSource": False, "matchRepository": True}}
    spec["sources"] = spec["sources"] | {"names": ["app", "second"]}
    spec["webhook"]["authConfig"] = {"secretRef": {"name": "mine"}, "key": "token", "type": "github"}
    world.ours("WebhookTrigger", installation, "both", spec)
    replica = replicas(0)
    path = f"/{installation}"
    address = other.url.replace("127.0.0.1", "127.0.0.1").removesuffix(".git").upper().replace("HTTP", "http")
    found = d.github(after=other.head(), url=address)
    answer = send(replica, path, found)
    assert answer.status == 202
    assert answer.body["triggers"]["both"] == "job has been scheduled"
    assert answer.body["triggers"]["mine"].startswith("ignored: no source of the trigger is the repository")
    assert set(answer.body["triggers"]) == {"both", "mine"}
    assert send(replica, path, found).status == 200
    [job] = wait_until("the Job", lambda: world.jobs(installation))
    assert job["metadata"]["annotations"]["git-events-runner.rs/commit"] == other.head()
    assert requested(world, installation, "both", "second") == 1
    assert requested(world, installation, "both") == 0
    assert send(replica, path, d.github(secret="wrong", url=address)).status == 403
    assert send(replica, path, unproven(found)).status == 401
    assert send(replica, "/nowhere", found).status == 404
    theirs = d.github(after=repository.head(), url=repository.url, secret="another secret of the house")
    assert set(send(replica, path, theirs).body["triggers"]) == {"theirs"}


def test_a_rotated_secret_holds_with_the_old_one_while_both_are_listed(world, installation, repository, replicas):
    """Two lines: both accepted. One line: the new one at once, the old one no more."""
    secret(world, installation, "hook", "the first secret of all")
    hook(world, installation, "hook", "github")
    replica = replicas(0)

    def status(value):
        return send(replica, f"/{installation}/hook", d.github(secret=value, url=repository.url)).status

    assert status("the first secret of all") == 202
    secret(world, installation, "hook", "the second secret of all\nthe first secret of all\n")
    wait_until("the second is known", lambda: status("the second secret of all") == 202, timeout_s=15)
    assert status("the first secret of all") == 202
    secret(world, installation, "hook", "the third secret of all")
    wait_until("the third is known", lambda: status("the third secret of all") == 202, timeout_s=15)
    assert status("the first secret of all") == 403


def test_a_short_secret_and_an_open_hook_are_warned_of_and_work(world, installation, repository, replicas):
    """Ready stays True; its reason and message say what to mend, until it is mended."""
    secret(world, installation, "hook", "short")
    hook(world, installation, "hook", "github")
    world.ours("WebhookTrigger", installation, "open", sources() | {"webhook": {"multiSource": True}})
    replica = replicas(0)
    wait_until("the open hook", lambda: condition(world, installation, "open").get("reason") == "WebhookOpen")
    assert condition(world, installation, "open")["status"] == "True"
    wait_until("the hook is judged", lambda: condition(world, installation, "hook"))
    assert send(replica, f"/{installation}/hook", d.github(secret="short", url=repository.url)).status == 202
    wait_until("the warning", lambda: condition(world, installation, "hook").get("reason") == "WebhookSecretShort")
    assert "short" not in condition(world, installation, "hook")["message"].replace("WebhookSecretShort", "")
    assert send(replica, f"/{installation}/open").status == 202
    secret(world, installation, "hook", d.SECRET)
    wait_until(
        "it is mended",
        lambda: send(replica, f"/{installation}/hook", d.github(url=repository.url)).status == 202,
        timeout_s=15,
    )
    wait_until("all well", lambda: condition(world, installation, "hook").get("reason") == "Succeeded")


def test_while_the_api_server_is_away_nothing_is_promised(world, installation, repository, replicas, control_plane):
    """503 with Retry-After within the time-out, and the same delivery is taken once the API server is back."""
    door = Door(control_plane.port)
    try:
        secret(world, installation, "hook", d.SECRET)
        hook(world, installation, "hook", "github")
        replica = replicas(0, server={"server": f"https://127.0.0.1:{door.port}"})
        warm = d.github(after=repository.head(), url=repository.url)
        assert send(replica, f"/{installation}/hook", warm).status == 202
        wait_until("it is answered", lambda: _answered(world, installation, "hook"))
        door.shut()
        found = d.github(after=repository.push({"README": "away\n"}), url=repository.url)
        answer = send(replica, f"/{installation}/hook", found)
        assert answer.status == 503
        assert int(answer.headers["retry-after"]) >= 1
        door.reopen()
        wait_until(
            "it is taken again",
            lambda: send(replica, f"/{installation}/hook", found).status in {200, 202},
            timeout_s=60,
            every_s=0.5,
        )
        wait_until("its Job", lambda: len(world.jobs(installation)) == 2, timeout_s=60)
    finally:
        door.close()


@pytest.mark.timeout(200)
def test_the_schedule_of_a_hook_finds_what_no_delivery_announced(world, installation, repository, replicas):
    """One ledger for both: the poll runs it, once; a minute later metric and warning say that a delivery is missing."""
    secret(world, installation, "hook", d.SECRET)
    hook(world, installation, "hook", "github", schedule="2s")
    replica = replicas(0)
    wait_until("the first look runs", lambda: len(world.jobs(installation)) == 1)
    missed = repository.push({"README": "missed\n"})
    wait_until("the poll finds it", lambda: len(world.jobs(installation)) == 2)
    wait_until(
        "it is told", lambda: replica.metric("git_events_runner_missed_webhook_total") == 1, timeout_s=90, every_s=1
    )
    wait_until("the warning", lambda: condition(world, installation, "hook").get("reason") == "WebhookMissed")
    assert missed[:12] in condition(world, installation, "hook")["message"]
    asked = replica.metric('git_events_runner_check_verdicts_total{verdict="skip-answered"}')
    announced = d.github(after=repository.push({"README": "announced\n"}), url=repository.url)
    assert send(replica, f"/{installation}/hook", announced).status in {200, 202}
    wait_until("its Job", lambda: len(world.jobs(installation)) == 3)
    wait_until("the warning is gone", lambda: condition(world, installation, "hook").get("reason") == "Succeeded")
    wait_until(
        "polls rest after a delivery",
        lambda: replica.metric('git_events_runner_check_verdicts_total{verdict="skip-answered"}') >= asked + 2,
    )
    assert len(world.jobs(installation)) == 3


def test_no_request_makes_a_server_error_or_a_traceback(world, installation, replicas):
    """Twisted payloads with good signatures and mangled bytes: 2xx, 4xx, or a closed connection; then all is well."""
    prepare(world, installation)
    replica = replicas(0, log="error")
    statuses = fuzz(replica, installation, count=3200, seed=1)
    assert not [status for status in statuses if status != "closed" and status >= 500], statuses
    assert {200, 202, 400, 401, 403, 404} <= set(statuses)
    assert "Traceback" not in replica.process.text()
    assert send(replica, f"/{installation}/header", d.plain()).status == 202
    assert replica.get("/alive")[0] == 200
