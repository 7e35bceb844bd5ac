"""A source's proxy before both API servers: what was valid stays so, and what is no proxy is refused."""

from __future__ import annotations

import pytest

from git_events_runner.errors import ApiInvalid

from .conftest import World

URI = "https://git.example/app"


@pytest.mark.parametrize("kind", ["GitRepo", "ClusterGitRepo"])
@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"proxy": None},
        {"proxy": {"url": "http://proxy.example:3128"}},
        {"proxy": {"url": "socks5h://[fd00::1]:1080", "secretRef": None}},
        {"proxy": {"url": "socks5://10.0.0.1:1080", "secretRef": {"name": "way", "namespace": "vault"}}},
    ],
    ids=["without", "null", "url", "null secret", "all"],
)
async def test_what_is_accepted(world: World, kind: str, spec):
    """Sources without a proxy are valid as they were, nothing is filled in, and those with one are kept whole."""
    name = f"p-{world.namespace}"
    made = await world.create({"kind": kind, "metadata": {"name": name}, "spec": {"repoUri": URI, **spec}})
    assert made["spec"] == {"repoUri": URI, **spec}
    await world.client.delete(world.ref(kind, name))


@pytest.mark.parametrize(
    ("proxy", "field"),
    [
        ({}, "spec.proxy.url"),
        ({"url": "http://me:word@proxy:1"}, "spec.proxy.url"),
        ({"url": "https://proxy:1"}, "spec.proxy.url"),
        ({"url": "http://proxy"}, "spec.proxy.url"),
        ({"url": "http://proxy:0"}, "spec.proxy.url"),
        ({"url": "http://proxy:1", "secretRef": {}}, "spec.proxy.secretRef.name"),
    ],
    ids=["empty", "password", "https", "no port", "port 0", "no name"],
)
async def test_what_is_refused(world: World, proxy, field):
    """What is no proxy is refused when it is applied, by the name of the field."""
    with pytest.raises(ApiInvalid, match=field):
        await world.create({"kind": "GitRepo", "spec": {"repoUri": URI, "proxy": proxy}})
