"""What is remembered of a repository goes with the source that it is, on a virtual clock."""

from __future__ import annotations

import asyncio

from git_events_runner.resources.description import AUTH_FILES
from git_events_runner.resources.ref import Ref
from git_events_runner.resources.ssh import HostKeyPolicy
from git_events_runner.serving import running
from git_events_runner.wiring.repositories import Repositories
from tests.flow.virtual import until, virtual
from tests.flow.world import Cluster

APP = Ref("GitRepo", "n", "app")


def source(name, *, kind="GitRepo"):
    metadata = {"name": name} | ({"namespace": "n"} if kind == "GitRepo" else {})
    return {"kind": kind, "metadata": metadata, "spec": {"repoUri": f"https://x/{name}"}}


@virtual
async def test_the_key_of_a_deleted_source_is_forgotten():
    """Once, and not while another source is the same repository."""
    world, forgotten = Cluster(), []
    repositories = Repositories(store=world.store, forget=[lambda keys: forgotten.append(sorted(keys))])
    for name in ("app", "same", "other"):
        world.put(source(name))
    async with running(repositories=repositories.run()):
        repositories.used(APP, "n", "k1")
        repositories.used(Ref("GitRepo", "n", "same"), "n", "k1")
        repositories.used(Ref("GitRepo", "n", "other"), "n", "k2")
        world.drop(APP)
        await asyncio.sleep(300)
        assert forgotten == []
        world.drop(Ref("GitRepo", "n", "same"))
        await until(lambda: forgotten)
        await asyncio.sleep(300)
        assert forgotten == [["k1"]]


@virtual
async def test_the_key_that_a_source_had_before_is_forgotten():
    """An edited URL or another value of its Secret makes another key; one that comes back meanwhile is kept."""
    world, forgotten = Cluster(), []
    repositories = Repositories(store=world.store, forget=[lambda keys: forgotten.append(sorted(keys))])
    world.put(source("app"))
    async with running(repositories=repositories.run()):
        for key in ("k1", "k2", "k1"):
            repositories.used(APP, "n", key)
        await until(lambda: forgotten)
        assert forgotten == [["k2"]]


@virtual
async def test_the_keys_of_a_deleted_namespace_are_forgotten():
    """A cluster source is another repository for each namespace: those of the others stay."""
    world, forgotten = Cluster(), []
    repositories = Repositories(store=world.store, forget=[lambda keys: forgotten.append(sorted(keys))])
    shared = Ref("ClusterGitRepo", None, "shared")
    world.put(source("shared", kind="ClusterGitRepo"))
    for namespace in ("n", "m"):
        world.put({"kind": "Namespace", "metadata": {"name": namespace}})
        repositories.used(shared, namespace, f"key of {namespace}")
    async with running(repositories=repositories.run()):
        await asyncio.sleep(10)
        world.drop(Ref("Namespace", None, "m"))
        await until(lambda: forgotten)
        assert forgotten == [["key of m"]]


@virtual
async def test_a_source_that_is_used_after_its_deletion_is_forgotten_too():
    """A check that began before the deletion leaves nothing behind."""
    world, forgotten = Cluster(), []
    repositories = Repositories(store=world.store, forget=[lambda keys: forgotten.append(sorted(keys))])
    async with running(repositories=repositories.run()):
        await asyncio.sleep(10)
        repositories.used(APP, "n", "k1")
        await until(lambda: forgotten, within_s=120)


def test_a_repository_is_built_once_for_each_version_of_its_source_and_policy():
    """Each check needs it; an edited source, another namespace or another policy makes another one."""
    world = Cluster()
    world.put(source("app"))
    repositories, policy = Repositories(store=world.store, forget=[]), HostKeyPolicy()

    def build(namespace="n", policy=policy):
        return repositories.build(world.store.get(APP).model, namespace, {}, policy)

    first = build()
    assert build() is first
    assert build("m") is not first
    assert build(policy=HostKeyPolicy(mode="strict")) is not first
    world.put(source("app") | {"spec": {"repoUri": "https://x/other"}})
    edited = build()
    assert edited.url == "https://x/other"
    assert build() is edited


def test_no_value_of_a_secret_is_held_between_requests():
    """With a credential the repository is built for each request, from the values as they are now."""
    world = Cluster()
    auth = {"type": "token", "secretRef": {"name": "git"}}
    world.put(source("app") | {"spec": {"repoUri": "https://x/app", "authConfig": auth}})
    repositories = Repositories(store=world.store, forget=[])
    model, [file] = world.store.get(APP).model, AUTH_FILES["token"].values()
    for token in ("one", "two"):
        found = repositories.build(model, "n", {file: token}, HostKeyPolicy())
        assert found.credential.authorization == token
    assert repositories._built == {}
