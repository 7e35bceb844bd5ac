"""The table that docs/capacity.md names: `python -m benchmarks.scale [ROW …]`, a row as `own-5000` or `waiting-200`.

Kinds of rows: own, paced, shared, namespaces, edits, deletions, takeover, finished, waiting, sources; then the size.
Rows edits, deletions and takeover use the installation of an `own` row of the same size before them, if there is one.
"""

import sys
import tempfile
import time
from pathlib import Path

from benchmarks.git import Canned
from benchmarks.scale.rows import Rows
from benchmarks.world import World

COLUMNS = ("row", "checks/s", "CPU per check", "loop lag", "memory", "scrape", "other")
TEXTS = {
    "own": "{:,} triggers on their own repositories",
    "paced": "{:,} triggers on their own repositories every 10 s",
    "shared": "{:,} triggers on 100 repositories, every 30 s",
    "namespaces": "{:,} namespaces, ten triggers each, every 30 s",
    "edits": "edits at {:,} triggers",
    "deletions": "deletion of {:,} triggers",
    "takeover": "take-over at {:,} triggers",
    "finished": "{:,} finished Jobs kept",
    "waiting": "{:,} Jobs wait for a slot",
    "sources": "{:,} sources in one trigger, every 30 s",
}
ALL = (
    "own-100",
    "paced-1000",
    "own-5000",
    "edits-5000",
    "deletions-5000",
    "own-10000",
    "takeover-10000",
    "shared-5000",
    "namespaces-30",
    "namespaces-300",
    "finished-5000",
    "waiting-2000",
    "sources-1000",
)


def main():
    """Print the table as it comes into being, and how long each row took on standard error."""
    chosen = [name.partition("-") for name in sys.argv[1:] or ALL]
    unknown = [kind for kind, _, size in chosen if kind not in TEXTS or not size.isdigit()]
    if unknown:
        sys.exit(f"no such row: {', '.join(unknown)}; kinds are {', '.join(TEXTS)}, each as KIND-NUMBER")
    print("| " + " | ".join(COLUMNS) + " |\n|" + " --- |" * len(COLUMNS), flush=True)
    with World() as world, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        git = Canned(Path(folder))
        rows = Rows(world, git)
        try:
            for kind, _, size in chosen:
                began, row = time.monotonic(), {"row": TEXTS[kind].format(int(size))}
                getattr(rows, kind)(row, int(size))
                print("| " + " | ".join(row.get(column, "") for column in COLUMNS) + " |", flush=True)
                print(f"{kind}-{size}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        finally:
            rows.close()
            git.close()


if __name__ == "__main__":
    main()
