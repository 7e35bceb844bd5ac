"""A cluster in this process, and the program run on it as a user runs it."""

import asyncio
import contextlib
import io
import json
import sys
from dataclasses import dataclass

import pytest

from git_events_runner.__main__ import main
from git_events_runner.edges.kube.client import Client
from git_events_runner.local.apiserver.server import serving
from git_events_runner.resources.kinds import KINDS
from git_events_runner.resources.ref import Ref


@dataclass(frozen=True)
class Done:
    """How a verb ended."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


class _Out(io.TextIOWrapper):
    """Standard output of a verb: text and bytes."""

    def __init__(self):
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    def text(self):
        return self.buffer.getvalue().decode()


class Cluster:
    """Objects are created without a controller: what is stored is what the test says."""

    def __init__(self, server, client, kubeconfig):
        self.server = server
        self.client = client
        self.kubeconfig = kubeconfig
        self.requests = 0
        self.patched = asyncio.Event()

    async def create(self, kind, name, spec=None, *, namespace="default", status=None, **metadata):
        obj = {"apiVersion": KINDS[kind].api_version, "kind": kind, "metadata": {"name": name, **metadata}}
        if KINDS[kind].namespaced:
            obj["metadata"]["namespace"] = namespace
        obj |= spec if kind in {"Secret", "ConfigMap", "Event"} else {"spec": spec} if spec is not None else {}
        stored = await self.client.create(KINDS[kind], obj)
        if status is not None:
            ref = Ref(kind, namespace if KINDS[kind].namespaced else None, name)
            stored = await self.client.patch(ref, {"status": status}, subresource="status")
        return stored

    async def world(self, namespace="default"):
        """A GitRepo `app` and an Action `build`."""
        await self.create("GitRepo", "app", {"repoUri": "https://git.example.com/team/app.git"}, namespace=namespace)
        await self.create("Action", "build", {"actionJob": {}}, namespace=namespace)

    async def trigger(
        self, name="nightly", kind="ScheduleTrigger", *, namespace="default", status=None, watch=None, **spec
    ):
        """A trigger on them."""
        when = {"schedule": {"interval": "1h"}} if kind == "ScheduleTrigger" else {"webhook": {"multiSource": True}}
        whole = {
            "sources": {"names": ["app"], "watchOn": {"onChangeOnly": True, **(watch or {})}},
            "action": {"kind": "Action", "name": "build"},
            **when,
            **spec,
        }
        return await self.create(kind, name, whole, namespace=namespace, status=status)

    async def run(self, *words, stdin=None):
        """Run the program with this cluster's kubeconfig."""
        options = ["--kubeconfig", str(self.kubeconfig)] if "--kubeconfig" not in words else []
        return await asyncio.to_thread(run, *words, *options)


def run(*words):
    """Run the program in this process."""
    out, err = _Out(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(list(words))
        except SystemExit as end:
            code = end.code
    assert "internal error" not in err.getvalue(), err.getvalue()
    assert "Traceback" not in err.getvalue(), err.getvalue()
    sys.stdout.flush()
    return Done(code, out.text(), err.getvalue())


@pytest.fixture
async def cluster(tmp_path):
    """An empty cluster with our CRDs."""
    async with serving() as server:
        path = tmp_path / "kubeconfig"
        path.write_text(json.dumps(server.kubeconfig()))
        async with Client.connect(str(path)) as client:
            cluster = Cluster(server, client, path)

            async def count(request, proceed):
                cluster.requests += 1
                response = await proceed()
                if request.method == "PATCH":
                    cluster.patched.set()
                return response

            server.intercept = count
            yield cluster
