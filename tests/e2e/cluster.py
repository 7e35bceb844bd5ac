"""What the tests ask of the cluster: namespaces, installations, Jobs, logs, webhooks."""

import json
import urllib.error
import urllib.request

from tests.cluster.api import Refused
from tests.cluster.plane import wait_until
from tests.e2e.images import REGISTRY

BATCH = "/apis/batch/v1"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
JOB_S = 120
PASSWORD = "s3same-0pen-e2e"


class Cluster:
    """A node with everything that an installation needs."""

    def __init__(self, *, node, api, helm, git, tools, archives):
        self.node, self.api, self.helm, self.git, self.tools, self.archives = node, api, helm, git, tools, archives

    def namespace(self, name, labels=None, annotations=None):
        """A namespace that enforces `restricted` unless labelled otherwise."""
        labels = RESTRICTED if labels is None else labels
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        body["metadata"]["annotations"] = annotations or {}
        self.api.post("/api/v1/namespaces", body)
        wait_until("its default account", lambda: self._account(name), timeout_s=30)
        return name

    def _account(self, namespace):
        try:
            return self.api.get(f"/api/v1/namespaces/{namespace}/serviceaccounts/default")
        except Refused:
            return None

    def install(self, verb, namespace, chart, *options, release="ger", shown=None, **values):
        """`helm install` or `upgrade` with two replicas; waits until they are ready; a failure tells of `shown`."""
        given = {"imageRegistry": REGISTRY, "replicaCount": 2, **values}
        base = [verb, release, str(chart), "--namespace", namespace, "--wait", "--timeout", "240s"]
        try:
            return self.helm(*base, *self.helm.values(given), *options)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.told(shown or namespace)}") from None

    def told(self, namespace):
        """States, Events and logs of a namespace, for a failure's message."""
        lines = []
        for event in self.api.items(f"/api/v1/namespaces/{namespace}/events"):
            lines.append(f"{event['involvedObject'].get('name')}: {event['reason']}: {event.get('message')}")
        for pod in self.api.items(f"/api/v1/namespaces/{namespace}/pods"):
            name = pod["metadata"]["name"]
            lines.append(f"{name}: {json.dumps(pod['status'].get('containerStatuses'))[:600]}")
            for container in pod["spec"]["containers"]:
                lines.append(f"{name}: {self.log(namespace, name, container['name'])[-1500:]}")
        return "\n".join(lines)[-8000:]

    def log(self, namespace, pod, container):
        """What a container has printed."""
        try:
            found = self.api.get(f"/api/v1/namespaces/{namespace}/pods/{pod}/log?container={container}")
        except Refused as refused:
            return f"({refused})"
        return found if isinstance(found, str) else json.dumps(found)

    def replicas(self, namespace):
        """The controller's pods."""
        selector = "labelSelector=app.kubernetes.io%2Finstance%3Dger,app.kubernetes.io%2Fname%3Dgit-events-runner"
        return self.api.items(f"/api/v1/namespaces/{namespace}/pods?{selector}")

    def webhook(self, namespace, path, headers=None, body=b""):
        """Status and body of a POST to the webhook Service."""
        service = self.api.get(f"/api/v1/namespaces/{namespace}/services/ger-git-events-runner")
        return self.ask(service["spec"]["clusterIP"], 8080, path, headers, body)

    def ask(self, host, port, path, headers=None, body=None, *, context=None):
        """Status and body of a GET from the host, or of a POST if it has a body; by HTTPS with a TLS context."""
        scheme = "https" if context else "http"
        request = urllib.request.Request(f"{scheme}://{host}:{port}{path}", body, headers or {})
        try:
            with urllib.request.urlopen(request, timeout=15, context=context) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def finished(self, namespace, trigger, number=1):
        """The trigger's Job of that age, once it has ended; with `result` and its pod."""

        def ended():
            jobs = self.api.jobs(namespace, trigger)
            if len(jobs) < number:
                return None
            conditions = (jobs[number - 1].get("status") or {}).get("conditions") or ()
            done = [c for c in conditions if c["type"] in {"Complete", "Failed"} and c["status"] == "True"]
            return done and (jobs[number - 1], done[0])

        try:
            job, condition = wait_until(f"Job {number} of {trigger}", ended, timeout_s=JOB_S, every_s=0.2)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.told(namespace)}") from None
        return job, condition

    def pod(self, job):
        """The pod of a Job."""
        namespace, name = job["metadata"]["namespace"], job["metadata"]["name"]
        [found] = self.api.items(f"/api/v1/namespaces/{namespace}/pods?labelSelector=job-name%3D{name}")
        return found

    def printed(self, job, container="action-worker"):
        """What a container of a Job printed."""
        pod = self.pod(job)
        return self.log(job["metadata"]["namespace"], pod["metadata"]["name"], container)

    def run(self, namespace, trigger, release="ger-system"):
        """Call a webhook without a secret; its first Job, which has to succeed."""
        status, body = self.webhook(release, f"/{namespace}/{trigger}")
        assert status == 202, body
        job, condition = self.finished(namespace, trigger)
        assert condition["type"] == "Complete", f"{condition}\n{self.told(namespace)}"
        return job

    def hook(self, namespace, name, source, action, **watch):
        """A WebhookTrigger on a source; both as (kind, name)."""
        spec = {
            "webhook": {"multiSource": True},
            "sources": {"kind": source[0], "names": [source[1]], "watchOn": {"onChangeOnly": True, **watch}},
            "action": {"kind": action[0], "name": action[1]},
        }
        return self.api.ours("WebhookTrigger", namespace, name, spec)
