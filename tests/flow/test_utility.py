"""Probes: readiness by facts, liveness by movement, on a real port."""

import aiohttp

from git_events_runner.flow.utility import Health, Probes
from git_events_runner.serving import listen, serving
from git_events_runner.telemetry.metrics import Metrics


async def test_the_three_paths():
    """500 says in plain lines what is not well; /metrics is the text format."""
    now = [100.0]
    health = Health(clock=lambda: now[0])
    health.set("caches", ready=False, why="not synced yet")
    health.expect("lease", lambda: 90.0, 20.0)
    with listen(0, host="127.0.0.1") as sock:
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        probes = Probes(health=health, metrics=Metrics(prefix="git_events_runner"))
        async with serving(probes.app, sock), aiohttp.ClientSession() as session:

            async def get(path):
                async with session.get(url + path) as answer:
                    return answer.status, await answer.text()

            assert await get("/ready") == (500, "caches: not synced yet\n")
            assert (await get("/alive"))[0] == 200
            health.set("caches", ready=True)
            assert await get("/ready") == (200, "ready\n")
            health.note("namespaces", ["namespace a: does not exist"])
            assert await get("/ready") == (200, "ready\nnamespace a: does not exist\n")
            now[0] = 111.0
            health.expect("certificate", lambda: 101.0, 5.0, problem="not trusted for")
            assert await get("/alive") == (500, "certificate: not trusted for 10 s\nlease: has not moved for 21 s\n")
            status, text = await get("/metrics")
            assert status == 200
            assert "git_events_runner_leading 0.0" in text


def test_readiness_needs_every_fact():
    """One that stopped being true counts again, with its new reason."""
    health = Health(clock=lambda: 0.0)
    health.set("caches", ready=False)
    health.set("crds", ready=False, why="old")
    health.set("caches", ready=True)
    assert health.not_ready() == ["crds: old"]
    health.set("crds", ready=True)
    assert health.not_ready() == []
    health.set("stopping", ready=False, why="this replica is stopping")
    assert health.not_ready() == ["stopping: this replica is stopping"]
