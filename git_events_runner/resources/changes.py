"""The list of changed files, as the controller, the cloner and the worker know it.

The init container's variable `GIT_EVENTS_RUNNER_PREVIOUS_COMMIT` holds a commit, or `none: ` and the reason why there
is none. `GIT_EVENTS_RUNNER_CHANGES` is the folder for the list.
"""

from __future__ import annotations

PREVIOUS_VARIABLE = "GIT_EVENTS_RUNNER_PREVIOUS_COMMIT"
CHANGES_VARIABLE = "GIT_EVENTS_RUNNER_CHANGES"
MOUNT_PATH = "/git-events-runner"
FILE = "changed-files"
# The same list for programs: status and path each end with NUL.
NUL_FILE = "changed-files.nul"
# In place of both: why there is no list.
ABSENT_FILE = "changed-files.absent"
