"""What a controller's status page knows besides the objects: last decisions, git servers, leader, limits."""

from dataclasses import replace

from git_events_runner.errors import GitUnreachable
from git_events_runner.settings import RuntimeConfig, Settings
from git_events_runner.wiring.controller_page import ControllerPage
from git_events_runner.wiring.status_page import NoPage, status_page
from tests.flow.program import REF, Program
from tests.flow.world import Cluster


def page_of(cluster, *, ui=True):
    settings = replace(Settings.of({}, {}), ui=ui, identity="pod-1")
    return status_page(
        settings,
        store=cluster.store,
        leader=lambda: "pod-2",
        action=lambda: RuntimeConfig().action,
        observer=cluster.metrics.git,
        now=cluster.now,
    )


async def checked(cluster, page, program):
    """What a check made the page know of the source."""
    program.decided.clear()
    await program.check()
    for decided in program.decided:
        page.decided(*decided)
    return page._decisions.of(cluster.objects[REF]["metadata"]["uid"], "app")


async def test_every_check_leaves_its_decision():
    """A run, nothing new (several times as one), and a failure with its message and the next attempt."""
    cluster = Cluster()
    cluster.surroundings()
    cluster.trigger(status={"checkedSources": {"app": {"requested": 1, "handled": 0}}})
    page, program = page_of(cluster), Program(cluster)
    [ran] = await checked(cluster, page, program)
    assert (ran.result, ran.commit, ran.why) == ("fire-first", program.git.head, "")
    for _ in range(3):
        answered, _ = await checked(cluster, page, program)
    assert (answered.result, answered.count) == ("skip-answered", 3)
    assert answered.since < answered.at
    entry = cluster.objects[REF]["status"]["checkedSources"]["app"]
    cluster.change(REF, status={"checkedSources": {"app": entry | {"requested": 2}}})
    program.git.error = GitUnreachable("git.example: connection refused")
    failed, *_ = await checked(cluster, page, program)
    assert failed.result == "git-failed"
    assert "connection refused" in failed.why


async def test_a_deleted_trigger_leaves_no_decision():
    """Its uid is not in the store any more."""
    cluster = Cluster()
    cluster.surroundings()
    trigger = cluster.trigger(status={"checkedSources": {"app": {"requested": 1, "handled": 0}}})
    page, program = page_of(cluster), Program(cluster)
    await program.check()
    cluster.drop(REF)
    page.decided(*program.decided[0])
    assert page._decisions.of(trigger["metadata"]["uid"], "app") == ()


async def test_facts_are_those_of_the_process():
    """Leader, limits, and what was seen of git servers; metrics count them as without the page."""
    cluster = Cluster()
    page = page_of(cluster)
    page.observer.exchanged("git.example", seconds=0.1, reason=None)
    page.observer.exchanged("git.example", seconds=0.1, reason="Timeout")
    page.observer.backed_off("git.example", seconds=30, throttled=False)
    page.observer.backed_off("other.example", seconds=30, throttled=True)
    page.observer.received("git.example", 10)
    page.observer.shared("git.example")
    facts = page._facts()
    assert (facts.replica, facts.leader, facts.slots, facts.share) == ("pod-1", "pod-2", 16, 0)
    git, other = facts.hosts
    assert (git.requests, git.failures, git.last_problem, git.backs_off_until) == (2, 1, "Timeout", None)
    assert (other.backs_off_until - cluster.now()).total_seconds() > 29
    page.observer.exchanged("git.example", seconds=0.1, reason=None)
    assert {host.host: host.last_problem for host in page._facts().hosts}["git.example"] == ""
    page.keep_hosts(["other.example"])
    assert [host.host for host in page._facts().hosts] == ["other.example"]


async def test_a_page_that_is_off_observes_nothing():
    """Requests to git servers go to the metrics directly."""
    cluster = Cluster()
    page = page_of(cluster, ui=False)
    assert isinstance(page, NoPage)
    assert (page.app, page.observer) == (None, cluster.metrics.git)
    assert isinstance(page_of(cluster), ControllerPage)
