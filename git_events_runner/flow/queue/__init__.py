"""The queue: waiting Jobs are suspended Jobs, the leader admits them, never more than `maxRunningJobs`.

Namespaces take turns (`rules/queue`), in each the oldest Job is first. A slot is taken before the request that fills
it. When the outcome of that request is unknown the slot stays taken until a live read after the request's deadline. A
Job that was once seen to be a run keeps its slot until it ends, also when its trigger is deleted meanwhile.

`slots` knows which slots are in use, `admission` fills the free ones, `sweeps` end what waits in vain.
"""

from .live import JOB_SELECTOR, live_jobs
from .queue import Queue

__all__ = ["JOB_SELECTOR", "Queue", "live_jobs"]
