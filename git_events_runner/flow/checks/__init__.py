"""One check of one source: read, query git, decide, and run or skip (ARCHITECTURE.md, "The run ledger", steps 1 to 7).

`checks` has the steps, `skips` writes the status without a run, `problems` reports failures.
"""

from .checks import Checks

__all__ = ["Checks"]
