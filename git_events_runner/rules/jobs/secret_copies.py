"""When the copy of a Secret beside a Job is needed: until the pod's init container is done, by the Job's own status."""

from __future__ import annotations

from git_events_runner.resources.job import JobView


def copy_needed(job: JobView) -> bool | None:
    """Whether a Job needs its copy now; None: leave it as it is.

    A pod is ready only after its init containers, so that as many ready pods as active ones have cloned
    (https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-conditions). A Job whose pod Kubernetes may
    replace keeps its copy until it ends. Before a Job of ours is admitted the queue makes the copy; another party
    admits without asking, so that the copy is there before if it can be, else right after.
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
