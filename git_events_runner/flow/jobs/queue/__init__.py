"""The queue: waiting Jobs are suspended Jobs, the leader admits them, never more than `maxRunningJobs`.

Namespaces take turns (`rules/admission`); in each the oldest Job is first. A slot is occupied before the request that
fills it is sent. If the outcome of that request is unknown, the slot stays occupied until a live read after the
request's deadline. A Job that was identified as a run keeps its slot until it ends, also if its trigger is deleted.

`slots` records which slots are in use, `admission` fills free ones, `sweeps` removes Jobs that can no longer start.
"""

from .live import JOB_SELECTOR, live_jobs
from .queue import Queue

__all__ = ["JOB_SELECTOR", "Queue", "live_jobs"]
