"""One check of one source: read, ask git, decide, and run or skip (ARCHITECTURE.md, "The run ledger", steps 1 to 7).

`checks` has the steps, `skips` writes what has to be written without a run, `problems` reports what went wrong.
"""

from .checks import Checks

__all__ = ["Checks"]
