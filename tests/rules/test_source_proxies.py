"""The proxy that a source names: what is accepted, what a Job gets of it, and what holds as before without one."""

import json

import pytest

from git_events_runner.errors import ConfigError, InvalidObject
from git_events_runner.resources.description import SECRET_DIR, SOURCE_VARIABLE, SourceDescription
from git_events_runner.resources.job import copy_name
from git_events_runner.resources.parse import parse
from git_events_runner.resources.ssh import HostKeyPolicy
from git_events_runner.rules.jobs.clone import describe, phase_key, secrets_of
from git_events_runner.rules.jobs.run import Clone
from tests.rules.test_manifest import APP, SHARED, made, pod

POLICY = HostKeyPolicy()
HTTP = {"url": "http://proxy.example:3128"}
REFERENCE = {"secretRef": {"name": "way", "namespace": "vault"}}
FILES = [{"key": "password", "path": "proxy-password"}, {"key": "username", "path": "proxy-username"}]


def source(kind="GitRepo", **spec):
    metadata = {"name": "app"} | ({} if kind.startswith("Cluster") else {"namespace": "team"})
    spec = {"repoUri": "https://git.example/app"} | spec
    return parse({"apiVersion": "git-events-runner.rs/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})


@pytest.mark.parametrize("url", ["http://proxy:1", "socks5://10.0.0.1:1080", "socks5h://[fd00::1]:65535"])
@pytest.mark.parametrize("kind", ["GitRepo", "ClusterGitRepo"])
def test_what_a_proxy_may_be(kind, url):
    """HTTP and SOCKS5 with host and port, with a Secret or without; the two names of SOCKS5 are both taken."""
    made_of = source(kind, proxy={"url": url, "secretRef": {"name": "way"}}).spec.proxy
    assert (made_of.url, made_of.secret_ref.name) == (url, "way")
    assert source(kind, proxy={"url": url, "secretRef": None}).spec.proxy.secret_ref is None


@pytest.mark.parametrize(
    ("spec", "field", "problem"),
    [
        ({"proxy": {}}, "spec.proxy.url", "is required"),
        ({"proxy": {"url": "http://me:word@proxy:1"}}, "spec.proxy.url", "belong into a Secret"),
        ({"proxy": {"url": "https://proxy:1"}}, "spec.proxy.url", "must be http://host:port"),
        ({"proxy": {"url": "socks4://proxy:1"}}, "spec.proxy.url", "must be http://host:port"),
        ({"proxy": {"url": "http://proxy"}}, "spec.proxy.url", "must be http://host:port"),
        ({"proxy": {"url": "http://proxy:1/path"}}, "spec.proxy.url", "must be http://host:port"),
        ({"proxy": {"url": "http://proxy:1\n"}}, "spec.proxy.url", "must be http://host:port"),
        ({"proxy": {"url": "http://proxy:65536"}}, "spec.proxy", "at most 65535"),
        ({"proxy": HTTP | {"secretRef": {}}}, "spec.proxy.secretRef.name", "is required"),
        ({"proxy": HTTP, "repoUri": "git@git.example:a/b"}, "spec.proxy", "only for http and https"),
        ({"proxy": HTTP, "repoUri": "ssh://git.example/a/b"}, "spec.proxy", "only for http and https"),
    ],
)
def test_what_no_proxy_is(spec, field, problem):
    """A wrong proxy makes the source invalid by the name of the field; a password in the URL is not repeated."""
    with pytest.raises(InvalidObject) as caught:
        source(**spec)
    assert caught.value.field == field
    assert problem in str(caught.value)
    assert "word@" not in str(caught.value)


def test_nothing_changes_without_one():
    """Sources as they were have the same description, Secrets and phase; null is what is not there."""
    plain = source()
    assert source(proxy=None).spec == plain.spec
    assert plain.spec.proxy is None
    assert secrets_of(plain, "team") == ()
    assert phase_key(plain, "team") == "https://git.example/app"
    assert set(json.loads(describe(plain, POLICY).to_json())) == {"url", "auth", "tls", "secretDir"}


def test_sharers_fall_due_together():
    """A schedule's phase is that of those with the same proxy and Secret."""
    phases = [phase_key(source(proxy=proxy), "team") for proxy in (None, HTTP, HTTP | {"secretRef": {"name": "way"}})]
    assert len(set(phases)) == 3
    assert phase_key(source(proxy=HTTP), "team") == phases[1]


def test_whose_namespace_counts():
    """A GitRepo's Secret is in its own namespace, whatever it says; a ClusterGitRepo's where it says, else here."""
    own = source(proxy=HTTP | REFERENCE)
    assert own.spec.ignored_namespaces == ("spec.proxy.secretRef.namespace",)
    assert [keys.namespace for keys in secrets_of(own, "team")] == ["team"]
    for reference, namespace in ((REFERENCE, "vault"), ({"secretRef": {"name": "way"}}, "other")):
        [keys] = secrets_of(source("ClusterGitRepo", proxy=HTTP | reference), "other")
        assert (keys.namespace, keys.name) == (namespace, "way")
        assert keys.files == {"username": "proxy-username", "password": "proxy-password"}


def test_the_init_container_gets_the_proxy():
    """URL in the description, user name and password as files of the init container, beside the source's own."""
    auth = {"type": "basic", "secretRef": {"name": "login"}}
    model = source(authConfig=auth, proxy=HTTP | {"secretRef": {"name": "way"}})
    described = describe(model, POLICY)
    assert described.files == ("username", "password", "proxy-username", "proxy-password")
    assert SourceDescription.parse(described.to_json()) == described
    job = made(clone=Clone(pointer=APP, description=described.to_json(), secrets=secrets_of(model, "team")))
    [cloner], [worker] = pod(job)["initContainers"], pod(job)["containers"]
    assert json.loads(cloner["env"][0]["value"])["proxy"] == {"url": HTTP["url"], "auth": True}
    [volume] = [each for each in pod(job)["volumes"] if "projected" in each]
    assert [each["secret"]["name"] for each in volume["projected"]["sources"]] == ["login", "way"]
    assert volume["projected"]["sources"][1]["secret"]["items"] == FILES
    assert SECRET_DIR in [mount["mountPath"] for mount in cloner["volumeMounts"]]
    assert SECRET_DIR not in [mount["mountPath"] for mount in worker["volumeMounts"]]
    assert "proxy" not in json.dumps([worker, job["metadata"]])


def test_a_secret_of_a_cluster_source_is_copied():
    """From another namespace, it comes in the copy that the Job waits for, under the names of the files."""
    model = source("ClusterGitRepo", proxy=HTTP | REFERENCE)
    described = describe(model, POLICY).to_json()
    job = made(clone=Clone(pointer=SHARED, description=described, secrets=secrets_of(model, "team")))
    assert job["spec"]["suspend"] is True
    [volume] = [each for each in pod(job)["volumes"] if "projected" in each]
    [entry] = volume["projected"]["sources"]
    assert entry["secret"]["name"] == copy_name(job["metadata"]["name"])
    assert entry["secret"]["items"] == [{"key": item["path"], "path": item["path"]} for item in FILES]


@pytest.mark.parametrize("proxy", [{"auth": True}, {"url": 7}, {"url": "http://p:1", "auth": "yes"}, "http://p:1"])
def test_a_wrong_description(proxy):
    """The cloner refuses a description whose proxy is none, and names the variable."""
    with pytest.raises(ConfigError, match=rf"{SOURCE_VARIABLE}: proxy"):
        SourceDescription.parse(json.dumps({"url": "https://git.example/app", "proxy": proxy}))
