"""Plays Job controller and kubelet: ends unsuspended Jobs, with the conditions that the real ones set."""

import contextlib
import http.client
import threading
import time
from datetime import UTC, datetime

from tests.cluster.api import Refused


def _now():
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _condition(kind, reason=""):
    return {"type": kind, "status": "True", "lastTransitionTime": _now(), "lastProbeTime": _now(), "reason": reason}


class Finisher:
    """Works in a thread while entered, in one namespace. `most` is the highest number of Jobs seen running at once."""

    def __init__(self, api, namespace, *, run_s=0.0, failing=lambda _job: False):
        self._api, self._namespace, self._run_s, self._failing = api, namespace, run_s, failing
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._since = {}
        self.most = 0

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(20)

    def _work(self):
        while not self._stop.wait(0.1):
            with contextlib.suppress(Refused, OSError, ValueError, http.client.HTTPException):
                self._pass()

    def _pass(self):
        jobs = self._api.items(f"/apis/batch/v1/namespaces/{self._namespace}/jobs")
        open_jobs = [job for job in jobs if not _ended(job)]
        running = [job for job in open_jobs if not job["spec"].get("suspend")]
        self.most = max(self.most, len(running))
        for job in running:
            uid = job["metadata"]["uid"]
            self._since.setdefault(uid, time.monotonic())
            if time.monotonic() - self._since[uid] >= self._run_s:
                with contextlib.suppress(Refused):
                    self.finish(job)

    def finish(self, job):
        """End one Job, in the two steps of the real controller."""
        failed = self._failing(job)
        path = f"/apis/batch/v1/namespaces/{self._namespace}/jobs/{job['metadata']['name']}/status"
        start = (job.get("status") or {}).get("startTime") or _now()
        first = _condition(
            "FailureTarget" if failed else "SuccessCriteriaMet", "BackoffLimitExceeded" if failed else ""
        )
        self._api.patch(path, {"status": {"startTime": start, "conditions": [first]}})
        last = _condition("Failed" if failed else "Complete")
        done = {"failed": 1} if failed else {"succeeded": 1, "completionTime": _now()}
        self._api.patch(path, {"status": {"startTime": start, "conditions": [first, last], **done}})


def _ended(job):
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(c["type"] in {"Complete", "Failed"} and c["status"] == "True" for c in conditions)


class PodFinisher(Finisher):
    """Plays the kubelet alone: ends the pods of Jobs, where the real Job controller runs."""

    def _pods(self):
        return self._api.items(f"/api/v1/namespaces/{self._namespace}/pods")

    def _pass(self):
        for pod in self._pods():
            uid, phase = pod["metadata"]["uid"], pod["status"].get("phase")
            if phase in {"Succeeded", "Failed"}:
                continue
            self._since.setdefault(uid, time.monotonic())
            if time.monotonic() - self._since[uid] >= self._run_s:
                ended = {"phase": "Succeeded", "startTime": pod["status"].get("startTime") or _now()}
                path = f"/api/v1/namespaces/{self._namespace}/pods/{pod['metadata']['name']}/status"
                with contextlib.suppress(Refused):
                    self._api.patch(path, {"status": ended})
