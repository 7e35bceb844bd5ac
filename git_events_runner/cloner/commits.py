"""What of a commit's content a clone needs: its tree and its parents."""

from __future__ import annotations

from collections.abc import Iterator

from git_events_runner.errors import GitProtocolError, GitReferenceNotFound

from .objects import Objects
from .pack import COMMIT, TAG, Pack

_TAGS_OF_TAGS = 8


def tree_and_parents(content: bytes, id_bytes: int) -> tuple[bytes, list[bytes]]:
    """Tree and parents, from the lines that git reads them from: the first one, and those right after it.

    Raises:
        GitProtocolError: The commit is broken.
    """
    try:
        first, *lines = content.split(b"\n")
        if not first.startswith(b"tree ") or len(first) != len(b"tree ") + 2 * id_bytes:
            raise GitProtocolError("the pack holds a broken commit")
        tree = bytes.fromhex(first[5:].decode("ascii"))
        parents: list[bytes] = []
        for line in lines:
            if not line.startswith(b"parent "):
                break
            parents.append(bytes.fromhex(line[7:].decode("ascii")))
    except ValueError as error:
        raise GitProtocolError("the pack holds a broken commit") from error
    return tree, parents


def tree_of(pack: Objects, object_id: bytes) -> bytes:
    """The tree of a commit, or of the commit that a tag object points to.

    Raises:
        GitReferenceNotFound: The object is not there, or is neither.
        GitProtocolError: It is broken.
    """
    for _ in range(_TAGS_OF_TAGS):
        if pack.kind(object_id) != TAG:
            break
        first = pack.read(object_id, TAG).split(b"\n", 1)[0]
        try:
            object_id = bytes.fromhex(first.removeprefix(b"object ").decode("ascii"))
        except ValueError as error:
            raise GitProtocolError("the pack holds a broken tag") from error
    if pack.kind(object_id) != COMMIT:
        raise GitReferenceNotFound(f"{object_id.hex()} is not a commit that the server gives")
    return tree_and_parents(pack.read(object_id, COMMIT), pack.id_bytes)[0]


def cut_commits(pack: Pack) -> Iterator[bytes]:
    """The commits of a pack that lack a parent in it, where the history was cut.

    Raises:
        GitProtocolError: One is broken.
    """
    for object_id in pack.objects:
        if pack.kind(object_id) == COMMIT:
            _, parents = tree_and_parents(pack.read(object_id, COMMIT), pack.id_bytes)
            if any(parent not in pack for parent in parents):
                yield object_id
