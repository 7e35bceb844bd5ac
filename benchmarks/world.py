"""The world of a benchmark: a real API server, a real git server, replicas as processes; everything ends with it."""

import contextlib
import itertools
import tempfile
from pathlib import Path

from git_events_runner.resources.crds import crds
from tests.cluster import binaries
from tests.cluster.api import Api
from tests.cluster.plane import ControlPlane
from tests.servers.git import GitServer
from tests.system.replica import Replica
from tests.system.roles import bind, roles


class World:
    """Use as a context manager."""

    def __init__(self):
        self._stack = contextlib.ExitStack()
        self._numbers = itertools.count()
        self._replicas = []

    def __enter__(self):
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        self.folder = folder
        (folder / "plane").mkdir()
        (folder / "git").mkdir()
        self.plane = ControlPlane(binaries.find(), folder / "plane")
        self._stack.callback(self.plane.close)
        self.git = GitServer(folder / "git")
        self._stack.callback(self.git.close)
        self.api = Api(self.plane)
        self.api.apply_crds(list(crds()))
        for role in roles():
            if role["kind"] == "ClusterRole":
                self.api.post("/apis/rbac.authorization.k8s.io/v1/clusterroles", role)
        return self

    def __exit__(self, *_):
        for replica in self._replicas:
            if replica.process.running:
                replica.kill()
        self._stack.close()

    def namespace(self):
        """A fresh namespace in which a controller may lead, with an Action `build`."""
        name = f"b{next(self._numbers)}"
        self.api.post("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        bind(self.api, name)
        self.api.ours("Action", name, "build", {"actionJob": {"command": ["true"]}})
        return name

    def replica(self, namespace, number=0, *options, wait=True, **more):
        """A replica, started; by default it is ready."""
        made = Replica(self.plane, self.folder, namespace, number, *options, **more)
        self._replicas.append(made)
        return made.wait_ready() if wait else made
