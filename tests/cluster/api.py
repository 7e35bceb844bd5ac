"""The tests' own way to the API server, independent of the program's client: paths and dicts."""

import http.client
import json
import ssl
import time


class Refused(Exception):
    """The API server answered with an error; `status` and `body` say which."""

    def __init__(self, status, body):
        self.status, self.body = status, body
        super().__init__(f"{status}: {body.get('message') if isinstance(body, dict) else body}")


_PATCH = {list: "application/json-patch+json", dict: "application/merge-patch+json"}
OURS = "/apis/git-events-runner.rs/v1alpha1"


class Api:
    """Requests as one user; a new connection each, so that it may be used from every thread."""

    def __init__(self, plane, token=None):
        self._host = (plane.host, plane.port)
        self._token = token or plane.admin_token
        self._context = ssl.create_default_context(cafile=str(plane.authority.path))

    def call(self, method, path, body=None, *, content_type="application/json", accept="application/json"):
        """The answer as a dict; Refused on an error."""
        connection = http.client.HTTPSConnection(*self._host, context=self._context, timeout=30)
        try:
            headers = {"Authorization": f"Bearer {self._token}", "Content-Type": content_type, "Accept": accept}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        try:
            parsed = json.loads(text)
        except ValueError:
            parsed = text.decode(errors="replace")
        if answer.status >= 300:
            raise Refused(answer.status, parsed)
        return parsed

    def get(self, path):
        """Read."""
        return self.call("GET", path)

    def watch(self, path, version, *, timeout_s=60):
        """The events of a list from a version on, each as type and object, until the stream ends or breaks."""
        connection = http.client.HTTPSConnection(*self._host, context=self._context, timeout=timeout_s + 5)
        query = f"watch=true&allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds={timeout_s}"
        try:
            connection.request("GET", f"{path}?{query}", headers={"Authorization": f"Bearer {self._token}"})
            answer = connection.getresponse()
            if answer.status >= 300:
                raise Refused(answer.status, answer.read().decode(errors="replace"))
            for line in answer:
                event = json.loads(line)
                yield event["type"], event["object"]
        finally:
            connection.close()

    def items(self, path):
        """The objects of a list."""
        return self.get(path)["items"]

    def post(self, path, body):
        """Create."""
        return self.call("POST", path, body)

    def put(self, path, body):
        """Replace."""
        return self.call("PUT", path, body)

    def patch(self, path, body):
        """A list is a JSON Patch, a dict a merge patch."""
        return self.call("PATCH", path, body, content_type=_PATCH[type(body)])

    def delete(self, path, propagation="Background"):
        """Delete."""
        return self.call(
            "DELETE", path, {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        )

    def apply_crds(self, crds):
        """Create or replace CRDs, and wait until they are served."""
        root = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        for crd in crds:
            path = f"{root}/{crd['metadata']['name']}"
            try:
                version = self.get(path)["metadata"]["resourceVersion"]
                self.put(path, crd | {"metadata": crd["metadata"] | {"resourceVersion": version}})
            except Refused as refused:
                if refused.status != 404:
                    raise
                self.post(root, crd)
        deadline = time.monotonic() + 30
        for crd in crds:
            while not _established(self.get(f"{root}/{crd['metadata']['name']}")):
                assert time.monotonic() < deadline, f"{crd['metadata']['name']} is not served"
                time.sleep(0.05)

    # --- our kinds and Jobs ------------------------------------------------------------------------

    def ours(self, kind, namespace, name, spec, **metadata):
        """Create one of our objects."""
        plural = kind.lower() + "s"
        place = f"{OURS}/namespaces/{namespace}/{plural}" if namespace else f"{OURS}/{plural}"
        body = {
            "apiVersion": "git-events-runner.rs/v1alpha1",
            "kind": kind,
            "metadata": {"name": name, **({"namespace": namespace} if namespace else {}), **metadata},
            "spec": spec,
        }
        deadline = time.monotonic() + 15
        while True:
            try:
                return self.post(place, body)
            except Refused as refused:
                if refused.status != 404 or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)  # the path of a new CRD is served a moment later

    def jobs(self, namespace, trigger=None):
        """Jobs of a namespace (of one trigger), oldest first."""
        found = self.items(f"/apis/batch/v1/namespaces/{namespace}/jobs")
        label = "git-events-runner.rs/trigger-name"
        chosen = [job for job in found if trigger is None or job["metadata"]["labels"].get(label) == trigger]
        return sorted(chosen, key=lambda job: (job["metadata"]["creationTimestamp"], job["metadata"]["name"]))

    def trigger(self, namespace, name, kind="WebhookTrigger"):
        """A trigger."""
        return self.get(f"{OURS}/namespaces/{namespace}/{kind.lower()}s/{name}")

    def phase(self, namespace, trigger, source, kind="WebhookTrigger"):
        """What a trigger's status says of the source's last Job; None: nothing."""
        entries = (self.trigger(namespace, trigger, kind).get("status") or {}).get("checkedSources") or {}
        return ((entries.get(source) or {}).get("lastJob") or {}).get("phase")

    def events(self, namespace, reason, **regarding):
        """Events of a namespace with a reason, about objects whose `kind` or `name` is given."""
        found = self.items(f"/apis/events.k8s.io/v1/namespaces/{namespace}/events")
        return [e for e in found if e["reason"] == reason and regarding.items() <= e["regarding"].items()]


def _established(crd):
    conditions = (crd.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)
