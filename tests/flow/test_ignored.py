"""Commits that `spec.ignore` selects are recorded without a run, through every cause of a check."""

import asyncio

import pytest

from git_events_runner.errors import GitTimeout
from git_events_runner.resources.commits import CommitText
from git_events_runner.rules.check_result import CheckResult
from tests.flow.program import REF, annotation
from tests.flow.replica import Replica
from tests.flow.test_references import Many
from tests.flow.test_waits import NIGHTLY, OPENS_AT_8, entry, replica
from tests.flow.virtual import virtual
from tests.flow.world import A, B, Cluster, recorded

C = "c" * 40
BOT = CommitText(name="Renovate Bot", email="bot@example.com", message="Update x\n")
IGNORE = {"authors": ["renovate*"], "messages": ["docs:*"], "skipCi": True}


def results(made):
    return [result for _, result, _ in made.decided]


@virtual
@pytest.mark.parametrize("kind", ["WebhookTrigger", "ScheduleTrigger"])
async def test_an_ignored_commit_is_recorded_with_the_reason_and_the_next_one_runs(kind):
    """One read of its author; the requests are handled; the run of the next commit has its author in the history."""
    ref = REF if kind == "WebhookTrigger" else NIGHTLY
    spec = {} if kind == "WebhookTrigger" else {"schedule": {"interval": "1m"}}
    made = replica(kind, ignore=IGNORE, **spec)
    made.git.texts[B] = BOT

    async def push(commit):
        made.git.head = commit
        if kind == "WebhookTrigger":
            await made.deliver(commit, commit, ref=ref)

    async with made.leading():
        await push(B)
        await asyncio.sleep(200)
        assert made.started() == []
        assert entry(made, ref)["commitHash"] == B
        assert entry(made, ref)["requested"] == entry(made, ref)["handled"]
        assert entry(made, ref)["ignored"] == {
            "commit": B,
            "reason": "the author matches 'renovate*' (ignore.authors)",
            "author": "Renovate Bot",
            "subject": "Update x",
        }
        assert (made.git.texts_asked, results(made).count(CheckResult.SKIP_IGNORED)) == (1, 1)
        await push(C)
        await asyncio.sleep(200)
    assert [commit for commit, _ in made.started()] == ["c"]
    assert "ignored" not in entry(made, ref)
    (job,) = made.jobs()
    assert (annotation(job, "commit-author"), annotation(job, "commit-subject")) == ("A U Thor", "Fix it")
    (run,) = made.cluster.objects[ref]["status"]["history"]
    assert (run["author"], run["subject"]) == ("A U Thor", "Fix it")


@virtual
async def test_a_failure_to_read_the_commit_is_a_problem_and_loses_no_change():
    """The request stays open, the condition has the cause, and the commit runs once the git server responds."""
    made = replica(ignore=IGNORE)
    made.git.text_error = GitTimeout("example.com: fetching the message took longer than 20 s")
    async with made.leading():
        await made.push(B)
        await asyncio.sleep(90)
        assert made.started() == []
        assert made.condition() == ("False", "Timeout")
        assert (entry(made)["commitHash"], entry(made)["handled"]) == (A, 0)
        made.git.text_error = None
        await asyncio.sleep(300)
    assert [commit for commit, _ in made.started()] == ["b"]
    assert made.condition() == ("True", "Succeeded")
    assert entry(made)["handled"] == 1


@virtual
async def test_a_commit_is_judged_when_its_run_would_start():
    """Outside the windows nothing is read; at the opening the newest commit counts, ignored or not."""
    made = replica(ignore=IGNORE, windows=OPENS_AT_8)
    made.git.texts[C] = BOT
    async with made.leading():
        await made.push(B)
        await asyncio.sleep(60)
        assert made.waits_for()[0] == "OutsideWindows"
        assert made.git.texts_asked == 0
        await made.push(C)
        await asyncio.sleep(3700)
    assert made.started() == []
    assert (entry(made)["commitHash"], entry(made)["handled"], entry(made).get("waiting")) == (C, 2, None)
    assert made.waits_for() is None


@virtual
async def test_a_requested_run_of_an_ignored_commit_runs():
    """Nothing is read for it."""
    cluster = Cluster()
    cluster.surroundings()
    status = recorded(runs=1, commit=A, requested=1, handled=1, runRequested=1, runHandled=0)
    cluster.trigger("WebhookTrigger", status=status, ignore=IGNORE)
    made = Replica(cluster)
    made.git.head, made.git.texts[B] = B, BOT
    async with made.leading():
        await asyncio.sleep(60)
    assert [commit for commit, _ in made.started()] == ["b"]
    assert made.git.texts_asked == 0


@virtual
async def test_an_empty_ignore_reads_nothing():
    """Nor does a trigger without the field."""
    made = replica(ignore={"authors": [], "skipCi": False})
    async with made.leading():
        await made.push(B)
        await asyncio.sleep(30)
    assert [commit for commit, _ in made.started()] == ["b"]
    assert made.git.texts_asked == 0


@virtual
@pytest.mark.parametrize("kind", ["ScheduleTrigger", "WebhookTrigger"])
async def test_each_reference_is_ignored_by_itself(kind):
    """A new branch and a moved one whose commits are ignored are recorded; the others run; a later commit runs."""
    made = Many({"heads/main": A}, watch={"references": {"branches": {}}}, spec={"ignore": IGNORE}, kind=kind)
    made.git.texts[B] = BOT
    await made.polls()
    made.git.refs |= {"heads/main": B, "heads/bot": B, "heads/human": C}
    await made.polls()
    assert made.ran() == [("app@heads/human", "1", "c", "first")]
    entries = made.status["checkedSources"]
    assert [entries[f"app@heads/{name}"]["ignored"]["commit"] for name in ("main", "bot")] == [B, B]
    assert "ignored" not in entries["app@heads/human"]
    await made.polls()
    assert len(made.ran()) == 1
    made.git.refs["heads/bot"] = "d" * 40
    await made.polls()
    assert made.ran()[1:] == [("app@heads/bot", "1", "d", "changed")]
