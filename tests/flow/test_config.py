"""The runtime config: the last good one stays, whatever happens to the ConfigMap."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from git_events_runner.errors import ConfigError
from git_events_runner.flow.config import Config
from git_events_runner.resources.ref import Ref
from git_events_runner.settings import RuntimeConfig, parse_runtime_config, restricts
from tests.flow.virtual import until, virtual
from tests.flow.world import Cluster

REF = Ref("ConfigMap", "n", "config")


def configmap(cluster, text):
    obj = {"kind": "ConfigMap", "metadata": {"name": "config", "namespace": "n"}}
    cluster.put(obj | {"data": {"runtimeConfig": text}})


def made(cluster, report_problem=lambda _: None):
    return Config(
        store=cluster.store,
        ref=REF,
        parse=parse_runtime_config,
        restricts=restricts,
        default=RuntimeConfig(),
        announcer=cluster,
        metrics=cluster.metrics,
        report_problem=report_problem,
    )


@asynccontextmanager
async def configured(cluster):
    config = made(cluster)
    task = asyncio.ensure_future(config.run())
    await asyncio.sleep(0.01)
    try:
        yield config
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


BAD = {
    "no YAML": "action: {",
    "an unknown key": "action: {maxRunning: 3}",
    "a wrong type": "action: {maxRunningJobs: many}",
    "not a mapping": "- 1",
    "a key twice": "action: {}\naction: {}",
    "a number of 5,000 digits": f"action: {{maxRunningJobs: {'9' * 5000}}}",
    "a mapping as a key": "{{a: b}: c}",
    "a deep nest": "[" * 900,
    "good beside bad": "action: {maxRunningJobs: 9, jobWaitingTimeoutSeconds: -1}",
}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("action: {maxRunning: 3}", "action.maxRunning: is not a known key; did you mean maxRunningJobs?"),
        ("actoin: {}", "actoin: is not a known key; did you mean action?"),
        ("fairness: {zzz: 1}", "fairness.zzz: is not a known key; known are weights"),
    ],
)
def test_an_unknown_key_is_refused_with_the_one_it_is_like(text, told):
    """Or with those that its section has."""
    with pytest.raises(ConfigError) as refused:
        parse_runtime_config(text)
    assert refused.value.problems == (told,)


@virtual
@pytest.mark.parametrize("name", BAD)
async def test_a_bad_document_changes_nothing(name):
    """Never half of it: the last good values stay; Event, metric; mended, it counts."""
    cluster = Cluster()
    configmap(cluster, "action: {maxRunningJobs: 3}")
    async with configured(cluster) as config:
        assert config.current.action.max_running_jobs == 3
        configmap(cluster, BAD[name])
        await until(lambda: cluster.reasons == ["RuntimeConfigInvalid"])
        assert config.current.action.max_running_jobs == 3
        assert cluster.series("runtime_config_valid") == 0
        configmap(cluster, "action: {maxRunningJobs: 4}")
        await until(lambda: config.current.action.max_running_jobs == 4)
        assert cluster.series("runtime_config_valid") == 1


@virtual
async def test_a_bad_document_at_start_means_the_defaults():
    """The controller starts, and says what is wrong."""
    cluster = Cluster()
    configmap(cluster, BAD["no YAML"])
    async with configured(cluster) as config:
        assert config.current == RuntimeConfig()
        assert cluster.reasons == ["RuntimeConfigInvalid"]


@virtual
@pytest.mark.parametrize(
    "text",
    [
        "policy: {defaultAllowedNamespaces: non}",
        "ppolicy: {defaultAllowedNamespaces: none}",
        "policy: {",
        "action: {maxRunningJobs: many}\ngit: {refusedNetworks: [10.0.0.0/8]}",
        "action: {actionsMayName: {serviceAccount: [builder]}}",
        '{"policy": {"clonerImages": 1}}',
    ],
)
async def test_a_bad_document_that_restricts_something_holds_the_start_back(text):
    """Defaults would turn the policy off: the replica waits, not ready, with an Event, until it can be read."""
    cluster = Cluster()
    configmap(cluster, text)
    report_problem = []
    config = made(cluster, report_problem.append)
    waiting = asyncio.ensure_future(config.wait_usable())
    await asyncio.sleep(1)
    assert not waiting.done()
    assert "cannot be read" in report_problem[-1]
    [(_, _, note)] = cluster.told
    assert note.startswith("this replica does not start")
    configmap(cluster, "policy: {defaultAllowedNamespaces: none}")
    await asyncio.wait_for(waiting, 1)
    assert report_problem[-1] is None
    assert config.current.policy.default_allowed_namespaces == "none"


@virtual
@pytest.mark.parametrize("name", BAD)
async def test_a_bad_document_that_restricts_nothing_starts_with_the_defaults(name):
    """As in v0.4; the Event does not speak of a last good one."""
    cluster = Cluster()
    configmap(cluster, BAD[name])
    config = made(cluster)
    await asyncio.wait_for(config.wait_usable(), 1)
    assert config.current == RuntimeConfig()
    [(_, _, note)] = cluster.told
    assert note.startswith("the defaults are in use")


@virtual
async def test_no_configmap_means_the_defaults():
    """That is no problem."""
    cluster = Cluster()
    async with configured(cluster) as config:
        assert config.current == RuntimeConfig()
        assert cluster.reasons == []
        assert cluster.series("runtime_config_valid") == 1


@virtual
async def test_a_configmap_that_is_deleted_leaves_what_it_said():
    """An accident of somebody's must not change every Job's image and limits; it is said."""
    cluster = Cluster()
    configmap(cluster, "action: {maxRunningJobs: 3}")
    async with configured(cluster) as config:
        cluster.drop(REF)
        await until(lambda: cluster.reasons == ["RuntimeConfigInvalid"])
        assert config.current.action.max_running_jobs == 3
        assert cluster.series("runtime_config_valid") == 0
        configmap(cluster, "action: {maxRunningJobs: 5}")
        await until(lambda: config.current.action.max_running_jobs == 5)
