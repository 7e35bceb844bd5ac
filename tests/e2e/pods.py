"""The pods of a namespace over time, by one watch: each state that the API server had, in order, without gaps."""

import contextlib
import threading
from datetime import datetime

_ENDED = {"Succeeded", "Failed"}


class PodHistory(threading.Thread):
    """Follows the pods while entered, after all earlier ones ended; `most` is the highest number that had not ended.

    `last` has the last state of each pod by name, also of those that are deleted; `failure` is why it stopped early.
    """

    def __init__(self, api, namespace):
        super().__init__(daemon=True)
        self._api, self._path = api, f"/api/v1/namespaces/{namespace}/pods"
        self._leaving = threading.Event()
        self.alive, self.most, self.last, self.failure = set(), 0, {}, None

    def __enter__(self):
        listed = self._api.get(self._path)
        assert {pod["status"].get("phase") for pod in listed["items"]} <= _ENDED
        self._version = listed["metadata"]["resourceVersion"]
        self.start()
        return self

    def __exit__(self, *_):
        self._leaving.set()
        self.join(timeout=30)

    def run(self):
        """Watch again from the last version until left."""
        try:
            while not self._leaving.is_set():
                with contextlib.suppress(OSError):
                    for kind, pod in self._api.watch(self._path, self._version, timeout_s=3):
                        assert kind != "ERROR", pod
                        self._version = pod["metadata"]["resourceVersion"]
                        if kind != "BOOKMARK":
                            self._note(kind, pod)
        except Exception as error:  # noqa: BLE001  for the test's assertion
            self.failure = error

    def _note(self, kind, pod):
        name = pod["metadata"]["name"]
        self.last[name] = pod
        if kind == "DELETED" or pod["status"].get("phase") in _ENDED:
            self.alive.discard(name)
        else:
            self.alive.add(name)
        self.most = max(self.most, len(self.alive))

    def lives(self):
        """When the first container of each pod started and the last one ended, by the kubelet, in order; to a second.

        Pods without a started container are left out.
        """
        found = []
        for pod in self.last.values():
            states = [
                state
                for key in ("initContainerStatuses", "containerStatuses")
                for one in pod["status"].get(key) or ()
                for state in one["state"].values()
                if state.get("startedAt")
            ]
            if states:
                found.append((min(map(_started, states)), max(map(_ended, states))))
        return sorted(found)


def _started(state):
    return datetime.fromisoformat(state["startedAt"])


def _ended(state):
    return datetime.fromisoformat(state["finishedAt"])
