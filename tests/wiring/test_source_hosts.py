"""The hosts that sources name, followed as sources change."""

import asyncio

from git_events_runner.resources.ref import Ref
from git_events_runner.serving import running
from git_events_runner.wiring.source_hosts import SourceHosts
from tests.flow.busy import reading_slowly
from tests.flow.virtual import virtual
from tests.flow.world import Cluster


def source(cluster, name, url, **metadata):
    """A GitRepo with that URL."""
    return cluster.put(
        {"kind": "GitRepo", "metadata": {"name": name, "namespace": "n"} | metadata, "spec": {"repoUri": url}}
    )


@virtual
async def test_hosts_are_those_of_all_sources():
    """With their port, in lower case; an invalid source has none, and one of two that name a host is enough."""
    cluster, kept = Cluster(), []
    source(cluster, "a", "https://Git.Example.org/a")
    source(cluster, "b", "http://x:8080/b")
    source(cluster, "invalid", 5)
    async with running(hosts=SourceHosts(store=cluster.store, keep=kept.append).run()):
        await asyncio.sleep(1)
        assert kept == [{"git.example.org", "x:8080"}]
        source(cluster, "c", "https://git.example.org/c")
        cluster.drop(Ref("GitRepo", "n", "a"))
        await asyncio.sleep(1)
        assert kept[-1] == {"git.example.org", "x:8080"}
        cluster.change(Ref("GitRepo", "n", "c"), spec={"repoUri": "https://other.example/c"})
        cluster.drop(Ref("GitRepo", "n", "b"))
        await asyncio.sleep(1)
        assert kept[-1] == {"other.example"}


def test_hosts_are_given_on_when_all_sources_are_read(monkeypatch):
    """Others work meanwhile: no host of a source that is not read yet loses its series."""

    @virtual
    async def check():
        cluster, kept = Cluster(), []
        for number in range(4):
            source(cluster, f"s{number}", f"https://git{number}.example/a")
        reading_slowly(monkeypatch, cluster)
        async with running(hosts=SourceHosts(store=cluster.store, keep=kept.append).run()):
            for _ in range(3):
                await asyncio.sleep(0)
            assert kept == []
            cluster.drop(Ref("GitRepo", "n", "s0"))
            source(cluster, "s4", "https://git4.example/a")
            await asyncio.sleep(1)
        assert all(hosts >= {f"git{number}.example" for number in (1, 2, 3)} for hosts in kept)
        assert kept[-1] == {f"git{number}.example" for number in (1, 2, 3, 4)}

    check()
