"""What policies cost a check that finds nothing: no write, and no request more."""

from tests.flow.replica import Replica
from tests.flow.virtual import virtual
from tests.flow.world import A, Cluster, Fence, recorded

CHECKS = 1000
ALL = {
    "windows": [
        {"allow": "0 0 * * *", "duration": "25h", "timeZone": "Europe/Berlin"},
        {"deny": "0 0 24 12 *", "duration": "72h"},
    ],
    "debounce": {"quiet": "30s", "max": "5m"},
    "cooldown": "10m",
    "ignore": {"authors": ["renovate*"], "messages": ["docs:*"], "skipCi": True},
    "concurrency": {"policy": "QueueLatest", "group": "terraform"},
    "retry": {"limit": 3},
    "historyLimit": 20,
}


def quiet(**spec):
    """A replica whose trigger has nothing new."""
    cluster = Cluster()
    cluster.surroundings()
    status = recorded(runs=1, commit=A) | {"lastRun": "2026-05-06T07:00:00Z", "observedGeneration": 1}
    cluster.trigger("WebhookTrigger", status=status, **spec)
    return Replica(cluster)


async def writes_of(made):
    """The calls to the API server that a thousand scheduled checks cause."""
    await made.check(due="2026-05-06T07:00:00Z", fence=Fence())
    before = len(made.cluster.calls)
    for number in range(CHECKS):
        await made.check(due=f"2026-05-06T07:{number // 60 + 1:02}:{number % 60:02}Z", fence=Fence())
    return len(made.cluster.calls) - before


@virtual
async def test_a_check_that_finds_nothing_writes_nothing_with_all_policies():
    """A thousand of them, and as many requests to git as without policies."""
    made, plain = quiet(**ALL), quiet()
    assert await writes_of(made) == await writes_of(plain) == 0
    assert made.git.asked == plain.git.asked == CHECKS + 1
