"""The tags of what a clone has, as git's file of packed references (git-pack-refs, refs/packed-backend.c)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from git_events_runner.edges.git import Remote
from git_events_runner.edges.git.request import Reference, Repository
from git_events_runner.errors import GitReferenceNotFound, GitTooLarge, GitTooManyReferences

from .objects import Objects
from .pack import TAG

_TAGS = "refs/tags/"
_HEADER = "# pack-refs with: peeled fully-peeled sorted \n"

Tags = Mapping[str, tuple[str, str | None]]
"""Full name → commit, and an annotated tag's own id."""


async def tags_of(remote: Remote, repository: Repository) -> Tags:
    """All tags that a repository has.

    Raises:
        GitTooLarge: They are more than are read.
        GitError: Any other of its classes.
    """
    try:
        return (await remote.references(repository, (_TAGS,))).refs
    except GitTooManyReferences as error:
        raise GitTooLarge(
            f"{repository}: the repository has more tags than a clone may list; set spec.actionJob.clone.tags to false"
        ) from error


def packed_refs(tags: Tags, objects: Objects, warn: Callable[[str], None]) -> bytes:
    """The file with those tags whose commits and tag objects are there; empty if there are none."""
    lines = list(_lines(tags, objects))
    here = [own for commit, own in tags.values() if own is not None and bytes.fromhex(commit) in objects]
    lacking = sum(bytes.fromhex(own) not in objects for own in here)
    if lacking:
        warn(f"the server did not send {lacking} of {len(here)} annotated tags of the cloned commits")
    return (_HEADER + "".join(lines)).encode("utf-8", "surrogateescape") if lines else b""


def _lines(tags: Tags, objects: Objects) -> Iterator[str]:
    for name in sorted(tags, key=lambda each: each.encode("utf-8", "surrogateescape")):
        commit, own = tags[name]
        try:
            Reference("tag", name).full_name  # noqa: B018 - raises for what git would not take
        except GitReferenceNotFound:
            continue
        if bytes.fromhex(commit) not in objects:
            continue
        if own is None:
            yield f"{commit} {name}\n"
        elif objects.kind(bytes.fromhex(own)) == TAG:
            yield f"{own} {name}\n^{commit}\n"
