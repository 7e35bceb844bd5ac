"""`trigger`, `rerun`, `suspend`, `resume`: what they write, and how they follow it."""

import asyncio

import pytest

from git_events_runner.resources.ref import Ref
from tests.cli.test_status import RAN

NIGHTLY = Ref("ScheduleTrigger", "default", "nightly")
GROUP = "git-events-runner.rs"


async def stored(cluster):
    return await cluster.client.get(NIGHTLY)


async def test_suspend_and_resume(cluster):
    """They set spec.suspend, and say when nothing changes."""
    await cluster.world()
    await cluster.trigger()
    for verb, value, again in (("suspend", True, "suspended already"), ("resume", False, "not suspended")):
        done = await cluster.run(verb, "nightly")
        assert (done.code, (await stored(cluster))["spec"]["suspend"]) == (0, value)
        assert again in (await cluster.run(verb, "scheduletrigger/nightly")).out


async def test_a_check_is_requested_by_annotation(cluster):
    """`trigger` writes the annotation that requests a check; each time with a new token."""
    await cluster.world()
    await cluster.trigger()
    tokens = set()
    for _ in range(2):
        done = await cluster.run("trigger", "nightly")
        assert done.code == 0
        tokens.add((await stored(cluster))["metadata"]["annotations"][f"{GROUP}/requested-at"])
    assert len(tokens) == 2
    assert any(token in done.out for token in tokens)


async def test_a_run_is_requested_for_sources(cluster):
    """`trigger --run --source` narrows the run; without a source the annotation of an earlier one is removed."""
    await cluster.world()
    await cluster.trigger(sources={"names": ["app", "lib"]})
    await cluster.run("trigger", "nightly", "--run", "--source", "lib")
    annotations = (await stored(cluster))["metadata"]["annotations"]
    assert annotations[f"{GROUP}/run-requested-sources"] == "lib"
    await cluster.run("trigger", "nightly", "--run")
    annotations = (await stored(cluster))["metadata"]["annotations"]
    assert f"{GROUP}/run-requested-sources" not in annotations
    assert annotations[f"{GROUP}/run-requested-at"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["trigger", "nightly", "--source", "app"], "--source: belongs to a run: add --run"),
        (["trigger", "nightly", "--run", "--source", "x"], "--source: 'x' is no source of the trigger, which has app"),
        (["rerun", "nightly"], "no run of the trigger is recorded; start one with trigger --run"),
    ],
)
async def test_wrong_use(cluster, words, told):
    """What the trigger does not have ends with 2 and the option to correct; nothing is written."""
    await cluster.world()
    await cluster.trigger()
    done = await cluster.run(*words)
    assert done.code == 2
    assert told in done.err
    assert not (await stored(cluster))["metadata"].get("annotations")


async def test_rerun_names_the_commit_of_the_former_run(cluster):
    """`rerun` requests a run of that run's source, and names the commit that it was of."""
    await cluster.world()
    await cluster.trigger(sources={"names": ["app", "lib"]}, status=RAN)
    done = await cluster.run("rerun", "nightly", "--run", "3")
    assert (done.code, "run 3 was of 012345678901" in done.out) == (0, True)
    assert (await stored(cluster))["metadata"]["annotations"][f"{GROUP}/run-requested-sources"] == "app"


async def test_rerun_of_a_reference(cluster):
    """`rerun` of a run of a tag requests a run of that tag alone."""
    await cluster.world()
    status = {**RAN, "checkedSources": {"app@tags/v1": RAN["checkedSources"]["app"]}}
    await cluster.trigger(sources={"names": ["app"]}, status=status)
    done = await cluster.run("rerun", "nightly", "--run", "3")
    assert (done.code, done.err) == (0, "")
    assert (await stored(cluster))["metadata"]["annotations"][f"{GROUP}/run-requested-sources"] == "app@tags/v1"


async def test_a_check_of_a_suspended_trigger(cluster):
    """A check of a suspended trigger waits, which is reported; with --wait it ends with 1."""
    await cluster.world()
    await cluster.trigger(suspend=True)
    done = await cluster.run("trigger", "nightly", "--wait")
    assert done.code == 1
    assert "is suspended: the check waits until it is resumed; use --run" in done.err


async def leader(cluster, phases, exit_code=None):
    """Handles a requested run as the leader does: the phases of its Job, one after the other."""
    await cluster.patched.wait()
    token = (await stored(cluster))["metadata"]["annotations"][f"{GROUP}/run-requested-at"]
    entry = dict(RAN["checkedSources"]["app"], runs=4, runRequested=1, runHandled=1)
    for phase in phases:
        entry["lastJob"] = {"name": "nightly-y", "phase": phase}
        status = {"lastHandledRunRequestedAt": token, "checkedSources": {"app": entry}}
        await cluster.client.patch(NIGHTLY, {"status": status}, subresource="status")
        await asyncio.sleep(1.2)


@pytest.mark.parametrize(("phases", "code"), [(["Queued", "Running", "Succeeded"], 0), (["Running", "Failed"], 1)])
async def test_wait_follows_to_the_end(cluster, phases, code):
    """With --wait each phase is printed once, and the exit code is that of the run."""
    await cluster.world()
    await cluster.trigger(status=RAN)
    cluster.patched.clear()
    done, _ = await asyncio.gather(cluster.run("trigger", "nightly", "--run", "--wait"), leader(cluster, phases))
    assert done.code == code
    assert [line.rpartition(" ")[2] for line in done.err.splitlines() if "nightly-y" in line] == phases


async def test_wait_has_a_limit(cluster):
    """Without a controller --wait ends after its time with 1, and names the verb that explains."""
    await cluster.world()
    await cluster.trigger(status=RAN)
    done = await cluster.run("trigger", "nightly", "--run", "--wait", "--timeout", "1")
    assert done.code == 1
    assert "not ended after 1 s; see git-events-runner explain scheduletrigger/nightly" in done.err
