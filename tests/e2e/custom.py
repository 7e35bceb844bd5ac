"""A second installation, as the values of `values.py` make it: what is in the cluster, and how it answers."""

import base64
import contextlib
import json
import ssl
import threading

from git_events_runner.settings import VERSION
from tests.cluster.api import Refused
from tests.cluster.plane import wait_until
from tests.e2e import values as v
from tests.e2e.helm import CHART
from tests.e2e.images import NAMES, REGISTRY
from tests.e2e.node import ADDRESS
from tests.e2e.processes import processes

SECRET = "a secret of the webhooks"
ROTATED = "another secret of the webhooks"
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
# Enough of the Prometheus operator's CRD for the API server to take a PodMonitor.
_MONITOR = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "podmonitors.monitoring.coreos.com"},
    "spec": {
        "group": "monitoring.coreos.com",
        "scope": "Namespaced",
        "names": {
            "kind": "PodMonitor",
            "plural": "podmonitors",
            "singular": "podmonitor",
            "listKind": "PodMonitorList",
        },
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}


class Custom:
    """The installation; `values` are those of its last `install` or `upgrade`."""

    def __init__(self, cluster, collector):
        self.cluster, self.api, self.collector = cluster, cluster.api, collector
        self.endpoint = f"http://{ADDRESS}:{collector.port}"
        certificate, key = cluster.git.authority.issue("hooks", v.BALANCER)
        self.tls = {"tls.crt": certificate.read_text(), "tls.key": key.read_text()}
        self._context = ssl.create_default_context(cafile=str(cluster.git.authority.path))
        self._context.check_hostname = False  # a Service's address is not known before it is there
        self.repository = cluster.git.repository()
        self.repository.push({"README": "one\n"})

    # --- before, and on the way ---------------------------------------------------------------------------------

    def prepare(self):
        """What the values name and the chart does not make."""
        for name in NAMES:
            mine = {"controller": f"{v.CONTROLLER}:v7", "cloner": f"{v.CLONER}:{VERSION}", "worker": f"{v.WORKER}:7"}
            self.cluster.node.ctr("images", "tag", f"{REGISTRY}/{NAMES[name]}:{VERSION}", mine[name])
        self.api.apply_crds([_MONITOR])
        for namespace in (v.RELEASE, v.VAULT, *v.TENANTS):
            self.cluster.namespace(namespace)
        self.secret(v.TENANTS[0], "hooks", {"token": SECRET})
        self.secret(v.VAULT, "hooks-tls", self.tls, kind="kubernetes.io/tls")
        for name in ("somebody", "own-jobs"):
            self.account(v.TENANTS[0], name)
        self.api.patch("/api/v1/nodes/node1", {"metadata": {"labels": {"disk": "ssd"}}})
        self.api.ours("GitRepo", v.TENANTS[0], "app", {"repoUri": self.repository.url})
        job = {"command": ["/bin/sh", "-c", "pwd; cat README; env | sort"]}
        self.api.ours("Action", v.TENANTS[0], "look", {"actionJob": job})
        slow = {"actionJob": {"command": ["sleep", "2"]}}
        self.api.ours("Action", v.TENANTS[0], "slow", slow)

    def trigger(self, name, action="look"):
        """A WebhookTrigger with the secret."""
        auth = {"secretRef": {"name": "hooks"}, "key": "token"}
        sources = {"names": ["app"]}
        spec = {"webhook": {"multiSource": True, "authConfig": auth}, "sources": sources}
        self.api.ours("WebhookTrigger", v.TENANTS[0], name, spec | {"action": {"kind": "Action", "name": action}})

    def account(self, namespace, name):
        """A service account that the chart does not make."""
        self.api.post(f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": name}})

    def allow_everything(self, account):
        """A role that the chart does not make."""
        subject = {"kind": "ServiceAccount", "name": account, "namespace": v.NAMESPACE}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
        binding = {"metadata": {"name": "custom-everything"}, "subjects": [subject], "roleRef": role}
        self.api.post(f"{_RBAC}/clusterrolebindings", binding)

    def install(self, values):
        """Install the release, on a node with a taint, while somebody else gives it an address and a certificate."""
        taints = [{"key": "x", "value": "y", "effect": "NoSchedule"}]
        self.api.patch("/api/v1/nodes/node1", {"spec": {"taints": taints}})
        others = threading.Thread(target=self._meanwhile)
        others.start()
        try:
            self.upgrade(values, "install")
        finally:
            others.join(60)
            self.api.patch("/api/v1/nodes/node1", {"spec": {"taints": None}})

    def upgrade(self, values, verb="upgrade"):
        """Put other values into the release."""
        self.values = values
        self.cluster.install(verb, v.RELEASE, CHART, release="custom", shown=v.NAMESPACE, **values)
        # Helm waits for the new pods only; those of the former values are ready until they have ended.
        wait_until("only its pods", lambda: _settled(self.deployment), timeout_s=120)

    def _meanwhile(self):
        """As a load balancer's controller, and as whoever makes certificates."""
        wait_until("its namespace", lambda: self.exists("/api/v1/namespaces", v.NAMESPACE), timeout_s=60)
        self.secret(v.NAMESPACE, "hooks-tls", self.tls, kind="kubernetes.io/tls")
        services = f"/api/v1/namespaces/{v.NAMESPACE}/services"
        wait_until("its Service", lambda: self.exists(services, v.NAME), timeout_s=60)
        status = {"status": {"loadBalancer": {"ingress": [{"ip": v.BALANCER}]}}}
        self.api.patch(f"{services}/{v.NAME}/status", status)

    def secret(self, namespace, name, data, kind="Opaque"):
        """A Secret, created or replaced."""
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        place, body = f"/api/v1/namespaces/{namespace}/secrets", {"metadata": {"name": name}, "type": kind}
        with contextlib.suppress(Refused):
            self.api.delete(f"{place}/{name}")
        self.api.post(place, body | {"data": encoded})

    def close(self):
        """Uninstall, once."""
        self.cluster.helm(
            "uninstall", "custom", "--namespace", v.RELEASE, "--wait", "--timeout", "60s", "--ignore-not-found"
        )

    # --- what is there ------------------------------------------------------------------------------------------

    def exists(self, place, name):
        """Whether an object is there."""
        try:
            return bool(self.api.get(f"{place}/{name}"))
        except Refused as refused:
            if refused.status != 404:
                raise
            return False

    def object(self, plural, name=v.NAME, namespace=v.NAMESPACE, group="v1"):
        """An object."""
        return self.api.get(f"{_place(plural, namespace, group)}/{name}")

    def has(self, plural, name=v.NAME, namespace=v.NAMESPACE, group="v1"):
        """Whether it is there."""
        return self.exists(_place(plural, namespace, group), name)

    def rbac(self, plural, name, namespace=None):
        """Whether a role or binding is there."""
        return self.exists(f"{_RBAC}/namespaces/{namespace}/{plural}" if namespace else f"{_RBAC}/{plural}", name)

    @property
    def deployment(self):
        """The Deployment."""
        return self.object("deployments", group="apps/v1")

    @property
    def pods(self):
        """Ready pods of the controller, by the label that `nameOverride` makes."""
        selector = "labelSelector=app.kubernetes.io%2Fname%3Drunner"
        found = self.api.items(f"/api/v1/namespaces/{v.NAMESPACE}/pods?{selector}")
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp") and _ready(pod)]

    @property
    def pod(self):
        """The spec of one of them."""
        return self.pods[0]["spec"]

    @property
    def container(self):
        """The controller's container in it."""
        return self.pod["containers"][0]

    @property
    def addresses(self):
        """Where the replicas are."""
        return [pod["status"]["podIP"] for pod in self.pods]

    @property
    def service(self):
        """The Service of webhooks."""
        return self.object("services")["spec"]

    @property
    def config(self):
        """The runtime config as text."""
        return self.object("configmaps", f"{v.NAME}-config")["data"]["runtimeConfig"]

    @property
    def logs(self):
        """What all replicas have printed."""
        return "".join(self.cluster.log(v.NAMESPACE, p["metadata"]["name"], "git-events-runner") for p in self.pods)

    @property
    def metrics(self):
        """The metrics of all replicas; those of the queue are the leader's."""
        port = self.values["service"]["utility"]["port"]
        return "".join(self.cluster.ask(host, port, "/metrics")[1] for host in self.addresses)

    @property
    def process(self):
        """The process of a replica that is not being replaced."""
        names = {f"POD_NAME={pod['metadata']['name']}".encode() for pod in self.pods}
        found = processes("git-events-runner", f"--config-map-name={v.NAME}-config")
        return next(each for each in found if names & {*(each / "environ").read_bytes().split(b"\0")})

    @property
    def arguments(self):
        """The options that it runs with."""
        words = (self.process / "cmdline").read_bytes().decode().split("\0")
        return dict(word.removeprefix("--").partition("=")[::2] for word in words if word.startswith("--"))

    @property
    def environment(self):
        """The variables that it runs with."""
        words = (self.process / "environ").read_bytes().decode().split("\0")
        return dict(word.partition("=")[::2] for word in words if word)

    def status(self, name):
        """The values of a line of its status, as the kernel tells it."""
        lines = (self.process / "status").read_text().splitlines()
        return next(line for line in lines if line.startswith(f"{name}:")).split()[1:]

    def mount(self, place):
        """The kernel's line about what is mounted at a path in its container."""
        lines = (self.process / "mountinfo").read_text().splitlines()
        return next((line for line in lines if line.split()[4] == place), "")

    # --- how it answers -----------------------------------------------------------------------------------------

    def call(self, path, secret=None, host=None):
        """Status and body of a webhook over TLS, by the load balancer's address unless another is named."""
        headers = {} if secret is None else {"x-other": secret}
        address = host or v.BALANCER
        port = self.values["service"]["webhook"]["port"]
        return self.cluster.ask(address, port, path, headers, b"", context=self._context)

    def until_limited(self, path, secret=None):
        """How many requests passed, and what the first says that did not; `{number}` in the path is that of each."""
        for number in range(400):
            status, body = self.call(path.format(number=number), secret)
            if status == 429:
                return number, json.loads(body)["message"]
        raise AssertionError(f"{path}: no limit")


def _settled(deployment):
    status = deployment["status"]
    return status.get("replicas") == status.get("readyReplicas") == deployment["spec"]["replicas"]


def _ready(pod):
    return ("Ready", "True") in {(c["type"], c["status"]) for c in pod["status"].get("conditions") or ()}


def _place(plural, namespace, group):
    return f"/{'apis' if '/' in group else 'api'}/{group}/namespaces/{namespace}/{plural}"
