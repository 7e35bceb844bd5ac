"""Entries of deleted references, pruned while the Job of another run is created: still one Job for each head."""

import asyncio

import pytest

from git_events_runner.errors import ApiUnavailable
from tests.flow.test_reconciler import reconciling
from tests.flow.test_references import many
from tests.flow.virtual import until, virtual
from tests.flow.world import A, B

C, D = "c" * 40, "d" * 40
X, Y = "app@heads/x", "app@heads/y"


async def deleted_long_ago():
    """Branch `x` ran once, `y` three times; both were deleted so long ago that their entries may be pruned."""
    made = many(heads__main=A)
    await made.polls()
    made.git.refs |= {"heads/x": B}
    for commit in (B, C, D):
        made.git.refs |= {"heads/y": commit}
        await made.polls()
    del made.git.refs["heads/x"], made.git.refs["heads/y"]
    await made.polls()
    await asyncio.sleep(200)
    return made


def numbers(made, key):
    """The numbers of the Jobs of a reference."""
    return [int(number) for name, number, *_ in made.ran() if name == key]


@virtual
@pytest.mark.parametrize("name", ["heads/x", "heads/new"])
@pytest.mark.parametrize("answer", ["late", "lost"])
async def test_a_job_that_is_created_while_entries_are_pruned_is_the_only_one(name, answer):
    """The numbers of a trigger's new entries are common: that of `y` is higher than the one in the slow request."""
    made = await deleted_long_ago()
    key = f"app@{name}"
    before = len(numbers(made, key))
    made.git.refs |= {name: C}
    made.cluster.latency_s = 4.0
    listing = asyncio.ensure_future(made.poll())
    await asyncio.sleep(2)  # the request for the Job is under way
    async with reconciling(made.cluster):
        await until(lambda: Y not in made.status["checkedSources"])
        made.cluster.latency_s = 0.001
        if answer == "lost":
            made.cluster.faults.append(("after", ApiUnavailable("no answer")))
        await listing
        await made.polls()
        await asyncio.sleep(60)
        await made.polls()
    assert len(numbers(made, key)) == before + 1
    assert made.status["checkedSources"][key]["commitHash"] == C
