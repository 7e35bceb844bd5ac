"""Replicas behind a proxy that loses, delays and forges what passes between them and the real API server."""

import signal

import pytest

from tests.cluster.api import OURS
from tests.cluster.finisher import Finisher
from tests.cluster.plane import wait_until
from tests.servers.apiproxy import ApiProxy
from tests.system.conftest import sources

COMMIT = "git-events-runner.rs/commit"
LEASE = ("--leader-lease-duration", "4", "--leader-lease-grace", "2")


@pytest.fixture
def proxy(control_plane):
    with ApiProxy(control_plane) as made:
        yield made


@pytest.fixture
def replica(replicas, proxy):
    """One replica behind the proxy, which leads and has listed what a new leader lists."""
    made = replicas(0, server=proxy.kubeconfig)
    lists = 2  # its cache's, and the new leader's live one: of Jobs, then of triggers, webhook triggers last
    last = "/webhooktriggers?"
    wait_until("it leads", lambda: sum(e.lists and last in e.path for e in list(proxy.log)) >= lists)
    return made


def hook(api, namespace, **watch):
    return api.ours("WebhookTrigger", namespace, "hook", sources(**watch) | {"webhook": {"multiSource": True}})


def entry(api, namespace, name="hook", kind="WebhookTrigger"):
    status = api.trigger(namespace, name, kind).get("status") or {}
    return (status.get("checkedSources") or {}).get("app") or {}


def ran(api, namespace):
    """The commits that ran, by the number of their run."""
    numbered = [(job["metadata"]["annotations"], job) for job in api.jobs(namespace)]
    numbered.sort(key=lambda pair: int(pair[0]["git-events-runner.rs/run"].rpartition("/")[2]))
    return [annotations[COMMIT] for annotations, _ in numbered]


def settled(api, namespace, runs=1):
    found = entry(api, namespace)
    return found.get("runs") == runs and found.get("handled") == found.get("requested") and found


def deliver(replica, namespace):
    """As a forge does: again until it is taken."""
    answers = []
    wait_until("a 202", lambda: answers.append(replica.post(f"/{namespace}/hook")) or answers[-1] == 202, every_s=0.3)
    return len(answers)


def forgotten(replica, namespace):
    """Whether the replica knows that the trigger is gone, without asking: its series go with it."""
    return f'webhook_requests_count_total{{namespace="{namespace}"' not in replica.get("/metrics")[1]


def test_a_job_whose_creation_was_not_confirmed_is_made_once(world, installation, repository, replica, proxy):
    """The POST reached the API server, its answer was lost: one Job, and it is recorded."""
    hook(world, installation)
    lost = proxy.rule("POST", "/jobs", "drop-after-ack", times=2)
    deliver(replica, installation)
    wait_until("the record", lambda: settled(world, installation))
    assert lost.hits >= 1
    assert ran(world, installation) == [repository.head()]


@pytest.mark.parametrize("fault", ["drop-before", "drop-after-ack"])
def test_status_writes_of_unknown_outcome_are_judged_by_reading(world, installation, repository, replica, proxy, fault):
    """The count and the settlement each lost once: no request is counted twice, no run is lost or repeated."""
    hook(world, installation)
    lost = proxy.rule("*", "/webhooktriggers/hook/status", fault, times=3)
    sent = deliver(replica, installation)
    wait_until("the record", lambda: settled(world, installation))
    assert lost.hits == 3
    assert 1 <= entry(world, installation)["requested"] <= sent
    assert ran(world, installation) == [repository.head()]


def test_five_conflicts_in_a_row_lose_no_entry(world, installation, repository, replica, proxy):
    """Every refused write is judged anew on what is there."""
    hook(world, installation)
    busy = proxy.rule("*", "/webhooktriggers/hook/status", "status", status=409, times=5)
    deliver(replica, installation)
    wait_until("the record", lambda: settled(world, installation))
    assert busy.hits == 5
    assert ran(world, installation) == [repository.head()]


@pytest.mark.parametrize(("status", "headers"), [(429, {"Retry-After": "2"}), (500, {}), (503, {}), (504, {})])
def test_a_busy_api_server_delays_a_run_and_loses_none(
    world, installation, repository, replica, proxy, status, headers
):
    """Refused and failed creations are tried again, not before Retry-After."""
    hook(world, installation)
    proxy.rule("POST", "/jobs", "status", status=status, headers=headers, times=2)
    deliver(replica, installation)
    wait_until("the record", lambda: settled(world, installation))
    assert ran(world, installation) == [repository.head()]
    posts = [exchange for exchange in proxy.log if exchange.verb == "POST" and "/jobs" in exchange.path]
    if headers:
        assert posts[1].at - posts[0].at >= 2
        assert posts[2].at - posts[1].at >= 2


def test_a_slow_api_server_makes_no_second_job(world, installation, repository, replica, proxy):
    """A creation that takes longer than its deadline has an unknown outcome; it is looked up, not repeated."""
    hook(world, installation)
    slow = proxy.rule("POST", "/jobs", "delay", seconds=9)
    deliver(replica, installation)
    wait_until("the record", lambda: settled(world, installation), timeout_s=40)
    assert slow.hits == 1
    late = next(exchange for exchange in proxy.log if exchange.verb == "POST" and "/jobs" in exchange.path)
    wait_until("the delayed creation reached the API server", lambda: late.status == 409)
    assert ran(world, installation) == [repository.head()]


def test_cut_streams_are_watched_again_without_a_list(world, installation, repository, replica, proxy):
    """Cut in the middle of a line: from the last version on, nothing missed, nothing twice."""
    hook(world, installation)
    deliver(replica, installation)
    wait_until("the record", lambda: settled(world, installation))
    place = len(proxy.log)
    cut = proxy.rule("GET", "watch=true", "cut", times=6)
    proxy._run(proxy._reset())
    pushed = repository.push({"README": "two\n"})
    wait_until("a watch was cut", lambda: cut.hits >= 4)
    deliver(replica, installation)
    wait_until("the second record", lambda: settled(world, installation, runs=2))
    assert ran(world, installation)[-1] == pushed
    assert len(world.jobs(installation)) == 2
    world.delete(f"{OURS}/namespaces/{installation}/webhooktriggers/hook")
    wait_until("the deletion", lambda: forgotten(replica, installation))
    assert [exchange.path for exchange in proxy.requests(since=place) if exchange.lists] == []


@pytest.mark.parametrize("form", ["event", "http"])
def test_a_version_that_is_too_old_is_listed_again(world, installation, replica, proxy, form):
    """410 in either form: one list, and what vanished meanwhile is gone."""
    hook(world, installation)
    wait_until("the trigger", lambda: replica.post(f"/{installation}/hook") == 202)
    place = len(proxy.log)
    proxy.rule("GET", "webhooktriggers.*watch=true", "drop-before", times=2)
    if form == "event":
        proxy.rule("GET", "webhooktriggers.*watch=true", "error-event")
    else:
        proxy.rule("GET", "webhooktriggers.*watch=true", "status", status=410)
    proxy._run(proxy._reset())
    world.delete(f"{OURS}/namespaces/{installation}/webhooktriggers/hook")
    wait_until("the deletion", lambda: forgotten(replica, installation))
    lists = [exchange for exchange in proxy.requests(since=place) if exchange.lists]
    assert len([exchange for exchange in lists if "git-events-runner.rs/v1alpha1" in exchange.path]) == 1


def test_a_stale_list_at_start_repeats_no_run(world, installation, repository, replica, proxy):
    """A replica that begins with yesterday's triggers: the live look before each Job finds what is recorded."""
    hook(world, installation)
    wait_until("the trigger", lambda: replica.post(f"/{installation}/hook") == 202)
    wait_until("the first record", lambda: settled(world, installation))
    recorded = proxy.rule("GET", "webhooktriggers.*limit=", "record")
    replica.kill()
    replica.restart()
    replica.wait_ready()
    assert b"checkedSources" in recorded.raw
    pushed = repository.push({"README": "two\n"})
    deliver(replica, installation)
    wait_until("the second record", lambda: settled(world, installation, runs=2))
    replica.kill()
    proxy.clear()
    proxy.rule("GET", "webhooktriggers.*limit=", "replay", raw=recorded.raw)
    held = proxy.rule("GET", "webhooktriggers.*watch=true", "drop-before", times=3)
    replica.restart()
    replica.wait_ready()
    deliver(replica, installation)
    wait_until("the request is answered", lambda: settled(world, installation, runs=2))
    assert held.hits >= 1
    assert ran(world, installation)[-1] == pushed
    assert len(world.jobs(installation)) == 2


def test_requests_are_refused_while_the_api_server_is_away(world, installation, repository, replica, proxy):
    """503, so that the forge sends again; nothing is promised that could be lost. It goes on without a restart."""
    hook(world, installation)
    wait_until("the trigger", lambda: replica.post(f"/{installation}/hook") == 202)
    wait_until("the first record", lambda: settled(world, installation))
    pid, place = replica.process.pid, len(proxy.log)
    with proxy.down():
        assert replica.post(f"/{installation}/hook", timeout_s=40) == 503
        assert replica.get("/alive")[0] == 200
    pushed = repository.push({"README": "two\n"})
    deliver(replica, installation)
    wait_until("the second record", lambda: settled(world, installation, runs=2))
    assert ran(world, installation)[-1] == pushed
    assert replica.process.pid == pid
    assert replica.process.running
    assert [exchange.path for exchange in proxy.requests(since=place) if exchange.lists] == []


def test_a_replica_whose_writes_do_not_arrive_is_not_ready(world, installation, replicas, control_plane):
    """It reads, so it seems well; senders are better served by the leader. It is ready again when they arrive."""
    first = replicas(0, *LEASE)
    wait_until("a leader", lambda: first.leads)
    with ApiProxy(control_plane) as mine:
        second = replicas(1, *LEASE, server=mine.kubeconfig)
        wait_until("a dry run", lambda: any("dryRun=All" in e.path and e.status in {200, 409} for e in list(mine.log)))
        mine.rule("PUT", "", "drop-before", times=10**6)
        mine.rule("PATCH", "", "drop-before", times=10**6)
        mine.rule("POST", "", "drop-before", times=10**6)
        status, text = wait_until(
            "it is not ready", lambda: (found := second.get("/ready"))[0] == 500 and found, timeout_s=60
        )
        assert status == 500
        assert "writes: no write has succeeded for" in text
        assert second.get("/alive")[0] == 200
        assert (first.get("/ready")[0], second.post(f"/{installation}/hook")) == (200, 503)
        mine.clear()
        wait_until("it is ready again", lambda: second.get("/ready")[0] == 200, timeout_s=20)
        first.kill()
        wait_until("it leads", lambda: second.leads, timeout_s=20)
        with mine.down():
            wait_until("a line for the only replica", lambda: "writes:" in second.get("/ready")[1], timeout_s=60)
            assert second.get("/ready")[0] == 200


def test_a_commit_and_back_runs_three_times(world, installation, repository, replica, proxy):
    """A, B and A again (a force push): each change of the head is a run of its own."""
    hook(world, installation)
    heads = [repository.head()]
    deliver(replica, installation)
    wait_until("A", lambda: settled(world, installation, runs=1))
    heads.append(repository.push({"README": "two\n"}))
    deliver(replica, installation)
    wait_until("B", lambda: settled(world, installation, runs=2))
    repository.git("update-ref", "refs/heads/main", heads[0])
    deliver(replica, installation)
    wait_until("A again", lambda: settled(world, installation, runs=3))
    assert ran(world, installation) == [heads[0], heads[1], heads[0]]


def test_a_trigger_made_anew_takes_nothing_over(world, installation, repository, replica, proxy):
    """Deleted and created again while its Job is being made: the new one starts with its own first run."""
    hook(world, installation)
    proxy.rule("GET", "/webhooktriggers/hook$", "delay", seconds=1.5)
    deliver(replica, installation)
    world.delete(f"{OURS}/namespaces/{installation}/webhooktriggers/hook")
    new = hook(world, installation)["metadata"]["uid"]
    deliver(replica, installation)
    wait_until("its record", lambda: settled(world, installation))
    runs = {job["metadata"]["annotations"]["git-events-runner.rs/run"] for job in world.jobs(installation)}
    assert runs == {f"{new}/app/1"}


def test_a_job_deleted_before_it_was_settled_is_not_numbered_again(world, installation, repository, replica, proxy):
    """Its settlement is written from what the POST answered, though the Job is gone: number 1 never runs twice."""
    hook(world, installation)

    def remove():
        for job in world.jobs(installation):
            world.delete(f"/apis/batch/v1/namespaces/{installation}/jobs/{job['metadata']['name']}")

    proxy.rule("POST", "/jobs", "pass", after=remove)
    deliver(replica, installation)
    wait_until("the record", lambda: settled(world, installation))
    assert world.jobs(installation) == []
    pushed = repository.push({"README": "two\n"})
    deliver(replica, installation)
    wait_until("the second record", lambda: settled(world, installation, runs=2))
    assert ran(world, installation) == [pushed]


def test_a_leader_that_stood_still_writes_nothing_more(world, installation, repository, replicas, proxy):
    """Stopped between its last look and the Job, for twice the lease, while the other led: not one write succeeds."""
    first = replicas(0, *LEASE, server=proxy.kubeconfig)
    wait_until("a leader", lambda: first.leads)
    second = replicas(1, *LEASE, server=proxy.kubeconfig)
    world.ours("ScheduleTrigger", installation, "every", sources() | {"schedule": {"interval": "1s"}})
    kind = "ScheduleTrigger"
    wait_until("the first run", lambda: entry(world, installation, "every", kind).get("runs") == 1)
    stopped = proxy.rule(
        "GET",
        "/scheduletriggers/every$",
        "pass",
        token="replica-0-token",
        before=lambda: first.process.send(signal.SIGSTOP),
    )
    repository.push({"README": "two\n"})
    wait_until("it stands still", lambda: stopped.hits == 1)
    wait_until("the other leads", lambda: second.leads, timeout_s=15)
    wait_until("the second run", lambda: entry(world, installation, "every", kind).get("runs") == 2)
    place = len(proxy.log)
    first.process.send(signal.SIGCONT)
    wait_until("it noticed", lambda: not first.leads)
    pushed = repository.push({"README": "three\n"})
    wait_until("the third run", lambda: entry(world, installation, "every", kind).get("runs") == 3)
    after = proxy.requests(since=place)
    assert [e.path for e in after if e.token == "replica-0-token" and e.mutates and 200 <= e.status < 300] == []
    assert ran(world, installation)[-1] == pushed
    assert len(world.jobs(installation)) == 3


def test_a_partitioned_leader_stops_before_the_other_starts(world, installation, repository, replicas, control_plane):
    """It acts until its renew deadline, the other only once the record has not changed for the lease's duration."""
    with ApiProxy(control_plane) as mine:
        first = replicas(0, *LEASE, server=mine.kubeconfig)
        wait_until("a leader", lambda: first.leads)
        second = replicas(1, *LEASE)
        world.ours("ScheduleTrigger", installation, "every", sources() | {"schedule": {"interval": "1s"}})
        wait_until("the first run", lambda: len(world.jobs(installation)) == 1)
        with mine.down():
            wait_until("it stops", lambda: not first.leads, timeout_s=10, every_s=0.02)
            assert not second.leads
            pushed = repository.push({"README": "two\n"})
            wait_until("the other leads", lambda: second.leads, timeout_s=10, every_s=0.02)
            assert not first.leads
            wait_until("the second run", lambda: len(world.jobs(installation)) == 2)
        assert ran(world, installation)[-1] == pushed
        assert first.process.running


def _workload(world, installation, repository, replica):
    """One push to its end; what the status says then, without what differs from run to run."""
    deliver(replica, installation)

    def done():
        status = world.trigger(installation, "hook").get("status") or {}
        found = (status.get("checkedSources") or {}).get("app") or {}
        phase = (found.get("lastJob") or {}).get("phase")
        answered = found.get("handled") and found["handled"] == found["requested"]
        # The warning is the reconciler's: what it writes comes last where a new leader begins.
        ready = any(c["type"] == "Ready" and c["reason"] == "WebhookOpen" for c in status.get("conditions") or ())
        return phase == "Succeeded" and status.get("state") == "Idle" and answered and ready and status

    status = wait_until("the end", done, timeout_s=60)
    found = status["checkedSources"]["app"]
    conditions = [(c["type"], c["status"], c["reason"]) for c in status["conditions"]]
    return {"runs": found["runs"], "commit": found["commitHash"] == repository.head(), "conditions": conditions}


@pytest.mark.parametrize("moment", ["before", "after"])
def test_kill_9_around_each_write_ends_as_if_nothing_had_been(world, installation, repository, replicas, proxy, moment):
    """A push is run to its end once for each of its writes, with kill -9 just before or after that write."""
    hook(world, installation)
    replica = replicas(0, *LEASE, server=proxy.kubeconfig)
    wait_until("it leads", lambda: replica.leads)
    path = f"{OURS}/namespaces/{installation}/webhooktriggers/hook"
    with Finisher(world, installation):
        place = len(proxy.log)
        reference = _workload(world, installation, repository, replica)
        writes = [exchange for exchange in proxy.requests(since=place) if exchange.mutates]
        assert len(writes) >= 3  # the count, the Job, the settlement; and the end of the Job
        for number in range(1, len(writes) + 1):
            world.delete(path)
            for job in world.jobs(installation):
                world.delete(f"/apis/batch/v1/namespaces/{installation}/jobs/{job['metadata']['name']}")
            wait_until("a clean slate", lambda: not world.jobs(installation))
            wait_until("the deletion", lambda: replica.post(f"/{installation}/hook") == 404)
            hook(world, installation)
            what = "drop-before" if moment == "before" else "drop-after-ack"
            killed = proxy.rule("write", installation, what, nth=number, **{moment: replica.kill})
            wait_until("it knows the trigger", lambda: replica.post(f"/{installation}/hook") != 404)
            wait_until("the kill", lambda killed=killed: killed.hits and not replica.process.running)
            replica.restart()
            replica.wait_ready()
            assert _workload(world, installation, repository, replica) == reference, f"{moment} write {number}"
            assert ran(world, installation) == [repository.head()], f"{moment} write {number}"
            proxy.clear()
