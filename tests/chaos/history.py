"""Follows the Jobs of a namespace: every change, in order, also across restarts of the API server."""

import contextlib
import http.client
import threading
import time

from tests.chaos.evidence import PREFIX, JobChange, holds_slot
from tests.cluster.api import OURS, Refused


class JobHistory:
    """Appends to the evidence's changes while entered."""

    def __init__(self, api, namespace, evidence):
        self._api, self._namespace, self._evidence = api, namespace, evidence
        self._path = f"/apis/batch/v1/namespaces/{namespace}/jobs"
        self._known = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(20)

    def forget(self):
        """Begin again with what is there: the past is another one now, and its deletions are none."""
        self._known.clear()
        self._evidence.since = len(self._evidence.changes)

    def _work(self):
        version = None
        while not self._stop.is_set():
            with contextlib.suppress(Refused, OSError, ValueError, http.client.HTTPException):
                version = self._list() if version is None else version
                for kind, seen in self._api.watch(self._path, version, timeout_s=2):
                    if kind == "ERROR":
                        version = None
                        break
                    version = seen["metadata"]["resourceVersion"]
                    if kind != "BOOKMARK":
                        self._note(seen, deleted=kind == "DELETED")
                continue
            version = None  # away, or too old: compare with a list
            self._stop.wait(0.1)

    def _list(self):
        listed = self._api.get(self._path)
        names = {job["metadata"]["name"] for job in listed["items"]}
        for name in set(self._known) - names:
            self._note(self._known[name], deleted=True)
        changed = [job for job in sorted(listed["items"], key=_created) if self._is_news(job)]
        freed = [job for job in changed if job["metadata"]["name"] in self._known and not holds_slot(job)]
        for job in freed + [job for job in changed if job not in freed]:  # a list does not show which came first
            self._note(job)
        return listed["metadata"]["resourceVersion"]

    def _is_news(self, job):
        known = self._known.get(job["metadata"]["name"])
        return known is None or known["metadata"]["resourceVersion"] != job["metadata"]["resourceVersion"]

    def _note(self, job, *, deleted=False):
        recorded = self._recorded(job) if deleted else None
        self._evidence.changes.append(JobChange(at=time.monotonic(), deleted=deleted, job=job, recorded=recorded))
        if deleted:
            self._known.pop(job["metadata"]["name"], None)
        else:
            self._known[job["metadata"]["name"]] = job

    def _recorded(self, job):
        """The phase that the status of its trigger has for it, if it is the last Job there."""
        uid = (job["metadata"].get("annotations") or {}).get(f"{PREFIX}run", "").partition("/")[0]
        source = next((each for each in self._evidence.sources.values() if each.uid == uid), None)
        if source is None:
            return None
        with contextlib.suppress(Refused, OSError, ValueError, http.client.HTTPException):
            path = f"{OURS}/namespaces/{self._namespace}/{source.kind.lower()}s/{source.name}"
            entries = (self._api.get(path).get("status") or {}).get("checkedSources") or {}
            last = (entries.get(source.name) or {}).get("lastJob") or {}
            return last.get("phase") if last.get("name") == job["metadata"]["name"] else None
        return None


def _created(job):
    """Sorts as created: a list says it to the second, and the number of the run says the rest."""
    run = (job["metadata"].get("annotations") or {}).get(f"{PREFIX}run") or "//0"
    return job["metadata"]["creationTimestamp"], int(run.rpartition("/")[2])
