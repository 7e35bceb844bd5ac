"""When a Job needs its copy of a Secret: until the pod's init container is done, by the Job's own status."""

from __future__ import annotations

from git_events_runner.resources.job import JobView


def copy_needed(job: JobView) -> bool | None:
    """Whether a Job needs its copy now; None: do not change it.

    A pod is ready only after its init containers, so when there are as many ready pods as active ones, all have cloned
    (https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-conditions). A Job whose pod Kubernetes may
    replace keeps its copy until it ends. Before a Job of ours is admitted the queue creates the copy. Another party
    admits without a request to us, so the copy is created before if possible, else right after.
    """
    if job.deleting:
        return None
    if job.finished or job.ending:
        return False
    if job.suspended:
        return True if job.queued_elsewhere else None
    if job.keeps_copy:
        return True if job.admitted_elsewhere else None
    return not job.ready >= job.active >= 1
