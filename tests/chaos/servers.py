"""What all trials share: the API server with our CRDs, and a git server; as the tests' fixtures make them."""

import contextlib

from git_events_runner.resources.crds import crds
from tests.cluster import binaries
from tests.cluster.api import Api
from tests.cluster.plane import ControlPlane
from tests.servers.git import GitServer
from tests.system.roles import roles


@contextlib.contextmanager
def servers(folder, **more):
    """Control plane, the tests' way to it, git server."""
    with contextlib.ExitStack() as stack:
        (folder / "plane").mkdir()
        (folder / "git").mkdir()
        plane = ControlPlane(binaries.find(), folder / "plane", **more)
        stack.callback(plane.close)
        api = Api(plane)
        api.apply_crds(list(crds()))
        for role in roles():
            if role["kind"] == "ClusterRole":
                api.post("/apis/rbac.authorization.k8s.io/v1/clusterroles", role)
        git = GitServer(folder / "git")
        stack.callback(git.close)
        yield plane, api, git
