"""How much of the history a fetch gets, and what else in addition to one commit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchShape:
    """Shape of a fetch: `depth` commits (0: the complete history), annotated tags of its commits, further objects.

    `also` are ids of objects that are requested in the same request. `treeless`: commits alone, without trees
    and files, if the server can leave them out.
    """

    depth: int = 1
    tags: bool = False
    also: tuple[str, ...] = ()
    treeless: bool = False


ONE_COMMIT = FetchShape()
COMMIT_ALONE = FetchShape(treeless=True)
