"""Fixtures of the real servers: started once a session, skipped by name where they cannot be had."""

import contextlib
import itertools
import signal

import pytest

from tests.cluster import binaries
from tests.cluster.api import Api
from tests.cluster.plane import ControlPlane
from tests.servers import git, gitea, jgit
from tests.servers import legacy as legacy_parsers
from tests.system.roles import bind, roles

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job: its children would ignore it, too
    signal.signal(signal.SIGINT, signal.default_int_handler)
_NUMBERS = itertools.count()
# What a fixture builds the first time on a machine, which takes minutes: (fixtures, name, builder, why it may fail).
_BUILDS = [
    ({"control_plane", "kubeconfig"}, "kube-apiserver", binaries.find, binaries.Unavailable),
    ({"forge"}, "Gitea", gitea.build, git.Unavailable),
    ({"jgit_server"}, "JGit", jgit.build, git.Unavailable),
    ({"legacy"}, "v0.4's parsers of schedules", legacy_parsers.build, git.Unavailable),
]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """The longest first (storms, then everything else with whole processes), so that workers end together.

    Those that need something built bear the mark `built`.
    """
    fixtures = set().union(*(build[0] for build in _BUILDS))
    for item in items:
        if fixtures.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("built")
    folders = ("tests/system/test_storms", "tests/system/", "tests/local/", "tests/")
    items.sort(key=lambda item: next(place for place, start in enumerate(folders) if item.nodeid.startswith(start)))


def pytest_collection_finish(session):
    """Build what the collected tests need before any of them is timed; what cannot be built, its fixture says."""
    if session.config.option.collectonly:
        return
    needed = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    for fixtures, name, build, unavailable in _BUILDS:
        if fixtures & needed:
            session.config.get_terminal_writer().line(f"{name}: looking for it, or building it once")
            with contextlib.suppress(unavailable):
                build()


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory):
    """A real API server with our CRDs, and the namespaces of the controller."""
    try:
        found = binaries.find()
    except binaries.Unavailable as missing:
        pytest.skip(str(missing))
    plane = ControlPlane(found, tmp_path_factory.mktemp("plane"))
    try:
        from git_events_runner.resources.crds import crds

        Api(plane).apply_crds(list(crds()))
        for role in roles():
            if role["kind"] == "ClusterRole":
                Api(plane).post("/apis/rbac.authorization.k8s.io/v1/clusterroles", role)
        yield plane
    finally:
        plane.close()


@pytest.fixture(scope="session")
def legacy():
    """v0.4's own parsers of schedules: the path of the program."""
    try:
        return legacy_parsers.build()
    except git.Unavailable as missing:
        pytest.skip(str(missing))


@pytest.fixture
def api(control_plane):
    """The tests' own way to the API server, as administrator."""
    return Api(control_plane)


@pytest.fixture
def namespace(control_plane, api):
    """A fresh namespace."""
    name = f"t{next(_NUMBERS)}"
    api.post("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    api.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture
def installation(control_plane, api, namespace):
    """Name of a namespace in which a controller may lead: the chart's roles are bound for its users."""
    return bind(api, namespace)


@pytest.fixture(scope="session")
def git_server(tmp_path_factory):
    """A real git server that counts requests and bytes."""
    try:
        server = git.GitServer(tmp_path_factory.mktemp("git"))
    except git.Unavailable as missing:
        pytest.skip(f"no git server: {missing}")
    yield server
    server.close()


@pytest.fixture
def repository(git_server):
    """A fresh repository with one commit."""
    made = git_server.repository()
    made.push({"README": "one\n"})
    return made


@pytest.fixture(scope="session")
def forge(tmp_path_factory):
    """A real forge: Gitea, over HTTP and its own SSH server."""
    try:
        server = gitea.Gitea(tmp_path_factory.mktemp("forge"))
    except git.Unavailable as missing:
        pytest.skip(f"no forge: {missing}")
    yield server
    server.close()


@pytest.fixture(scope="session")
def jgit_server(tmp_path_factory):
    """A git server that is not git: JGit over HTTP, HTTPS and SSH."""
    try:
        server = jgit.JGitServer(tmp_path_factory.mktemp("jgit"))
    except git.Unavailable as missing:
        pytest.skip(f"no JGit: {missing}")
    yield server
    server.close()
