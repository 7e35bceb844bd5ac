"""Results of the Jobs: the leader writes phases and `state`, TTLs, Events, metrics, and a log line for each end.

`outcomes` notices what happens to Jobs and calls the `observers`, `projection` shows the Jobs in the statuses of their
triggers, `sweeper` settles and ends what is still open. None of them reads a Job again that has ended and is recorded,
however many are kept.
"""

from .observers import JobEvents, JobLog, JobMetrics
from .results import Results

__all__ = ["JobEvents", "JobLog", "JobMetrics", "Results"]
