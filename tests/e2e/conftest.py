"""One node for all tests of this folder, and one installation for those that ask for it."""

import base64
import hashlib
import tempfile
from pathlib import Path

import pytest

from git_events_runner.settings import VERSION
from tests.cluster import binaries
from tests.cluster.api import Api
from tests.e2e import images, machine
from tests.e2e.cluster import PASSWORD, RESTRICTED, Cluster
from tests.e2e.dns import Dns
from tests.e2e.helm import CHART, Helm, tools
from tests.e2e.node import ADDRESS, Node
from tests.e2e.options import LABELS, TENANT
from tests.servers import git


def pytest_configure(config):
    """Building what is not cached takes minutes; no single test does."""
    config.option.timeout = 1500


@pytest.fixture(scope="session")
def cluster():
    """A cluster of one node, with git over HTTP beside it."""
    missing = machine.lacks()
    if missing:
        pytest.skip(f"no node: {missing}")
    try:
        found = binaries.find()
    except binaries.Unavailable as missing:
        pytest.skip(str(missing))
    if found.box is None:
        pytest.skip("no node: KUBEBUILDER_ASSETS has no kubelet; unset it, and one is built")
    archives = images.build(VERSION)
    programs = tools()
    with tempfile.TemporaryDirectory(prefix="ger-e2e-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        node = Node(found, folder)
        dns = server = None
        try:
            api = Api(node.plane)
            server = git.GitServer(folder / "git", host=ADDRESS)
            dns = Dns(api, ADDRESS)
            for archive in archives.values():
                node.load(archive)
            node.join(api)
            (folder / "helm").mkdir()
            helm = Helm(programs / "helm", node.plane.kubeconfig("admin-token"), folder / "helm")
            yield Cluster(node=node, api=api, helm=helm, git=server, tools=programs, archives=archives)
        finally:
            for part in (server, dns, node):
                if part is not None:
                    part.close()


@pytest.fixture(scope="session")
def release(cluster):
    """The namespace of an installation with two replicas, which serves six tenants."""
    namespace = cluster.namespace("ger-system")
    cluster.namespace("team")
    cluster.namespace(TENANT, RESTRICTED | LABELS)
    cluster.namespace("other", labels={})
    cluster.namespace("vault")
    cluster.namespace("bounded")  # test_3_others
    cluster.namespace("overlaps", labels={})  # test_3_overlaps, whose workers write to a folder of the node
    cluster.namespace("ranged", labels={}, annotations={"openshift.io/sa.scc.uid-range": "1000650000/10000"})
    tenants = ["team", "bounded", "overlaps", "ranged", TENANT]
    cluster.install(
        "install",
        namespace,
        CHART,
        "--take-ownership",  # of the CRDs that the release before left (crds.keep)
        rbac={
            "controller": {"jobsNamespaces": [*tenants, "other"], "secretsNamespaces": ["team", "vault", TENANT]},
        },
        actionJobServiceAccounts={"namespaces": tenants},
    )
    return namespace


@pytest.fixture(scope="session")
def repository(cluster):
    """A repository with one commit, behind a password."""
    made = cluster.git.repository(place="basic")
    made.push({"README": "one\n", "run.sh": "echo from the repository\n", "sub/file": "x\n"})
    return made


@pytest.fixture(scope="session")
def credential(cluster, release):
    """The Secret of the tenant's source and of the cluster's, both for the same server."""
    digest = base64.b64encode(hashlib.sha1(PASSWORD.encode(), usedforsecurity=False).digest()).decode()
    with (cluster.git.folder / "users").open("a") as users:
        users.write(f"robot:{{SHA}}{digest}\n")
    data = {
        name: base64.b64encode(value.encode()).decode()
        for name, value in (("username", "robot"), ("password", PASSWORD))
    }
    for namespace in ("team", "vault"):
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "git"}, "data": data}
        cluster.api.post(f"/api/v1/namespaces/{namespace}/secrets", body)
