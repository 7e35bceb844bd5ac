"""Author and message of a commit, from the beginning of its pack: trees and files are neither kept nor waited for."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import zlib
from weakref import WeakValueDictionary

from git_events_runner.concurrency.pools import Pool
from git_events_runner.errors import GitCutOff, GitFilterRefused, GitProtocolError, GitReferenceNotFound, GitTooLarge
from git_events_runner.resources.commits import MESSAGE_CHARS, NAME_CHARS, CommitText

from .exchange import Exchanges
from .large_trees import SMALL_PACK_BYTES
from .limits import Limits, Transport
from .packs import commit_content
from .repository_cache import RepositoryCache
from .request import Repository, is_object_id
from .shape import COMMIT_ALONE
from .single_flight import Shared

CONTENT_BYTES = 64 * 1024  # of a commit; the rest is not read
_HEADER = 12
_COMMIT = 1
_SHA1_CHARS = 40
_HEAD = re.compile(rb"[\x80-\xff]{0,9}[\x00-\x7f]", re.DOTALL)
_AUTHOR = re.compile(rb"^author ([^<\n]*)<([^>\n]*)>", re.MULTILINE)
_OTHER_ENCODING = re.compile(rb"^encoding (?!utf-?8\s*$)", re.MULTILINE | re.IGNORECASE)


class CommitFront:
    """Takes a pack until its first object is read: the commit that was requested.

    Git, JGit and libgit2 put it first. If a server does not, the pack is kept and read at its end.
    """

    class Seen(Exception):
        """The commit is known before the pack has ended."""

    def __init__(self, commit: str) -> None:
        self._commit = commit
        self._pack = bytearray()
        self._content = bytearray()
        self._stream = zlib.decompressobj()
        self._size = 0
        self._begun = self._ended = self._elsewhere = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the pack.

        Raises:
            CommitFront.Seen: They were enough.
            GitProtocolError: They are not a pack.
            GitTooLarge: The commit is not first, and the pack is large.
        """
        if self._ended:
            return
        if not self._begun:
            self._pack += data
            self._begin()
        else:
            self._inflate(data)

    def _begin(self) -> None:
        """Read the header of the pack and of its first object, as soon as they are complete."""
        if len(self._pack) > SMALL_PACK_BYTES:
            raise GitTooLarge(f"the pack of {self._commit} does not begin with it, and is too large to be searched")
        head = _HEAD.match(self._pack, _HEADER)
        if self._elsewhere or head is None:
            return
        if not self._pack.startswith(b"PACK"):
            raise GitProtocolError("what the server sent is not a pack")
        if head[0][0] >> 4 & 7 != _COMMIT:
            self._elsewhere = True
            return
        self._size = head[0][0] & 15
        for place, byte in enumerate(head[0][1:]):
            self._size |= (byte & 127) << (4 + 7 * place)
        self._begun = True
        self._inflate(bytes(self._pack[head.end() :]))

    def _inflate(self, data: bytes) -> None:
        try:
            self._content += self._stream.decompress(data, CONTENT_BYTES - len(self._content))
        except zlib.error as error:
            raise GitProtocolError("the pack holds broken data") from error
        self._ended = self._stream.eof or len(self._content) >= CONTENT_BYTES
        if self._ended and int.from_bytes(self._pack[8:12]) > 1:
            raise CommitFront.Seen

    def text(self, object_format: str, limits: Limits) -> CommitText:
        """Author and message, when the pack has ended or enough was seen.

        Raises:
            GitProtocolError: The pack is broken or lacks the commit.
            GitReferenceNotFound: The id is not a commit's.
            GitTooLarge: A limit was passed.
        """
        if self._elsewhere:
            return text_of(commit_content(self._pack, self._commit, object_format, limits))
        if not self._ended:
            raise GitCutOff("the pack was cut off")
        if self._size == len(self._content):
            make_hash = hashlib.sha256 if len(self._commit) == 2 * hashlib.sha256().digest_size else hashlib.sha1
            found = make_hash(b"commit %d\0" % self._size + self._content, usedforsecurity=False).hexdigest()
            if found != self._commit:
                raise GitProtocolError(f"the pack of {self._commit} begins with another commit, {found}")
        elif self._size < CONTENT_BYTES:
            raise GitProtocolError("the pack has an object whose size differs from its header")
        return text_of(bytes(self._content))


class CommitTexts:
    """Fetches authors and messages of commits: each once for all callers, and remembered."""

    def __init__(self, *, limits: Limits, exchanges: Exchanges, remembered: RepositoryCache) -> None:
        self._limits = limits
        self._exchanges = exchanges
        self._known = remembered.texts
        self._pool = Pool("commits", threads=1, own=1)
        self._fetches: WeakValueDictionary[tuple[str, str], Shared[CommitText]] = WeakValueDictionary()

    async def get(self, transport: Transport, repository: Repository, commit: str) -> CommitText:
        """Author and message of a commit.

        Raises:
            GitError: Any of its classes.
        """
        if not is_object_id(commit):
            raise GitReferenceNotFound(f"{repository}: a commit is requested by its full id")
        key = (repository.key, commit)
        if (known := self._known.get(key)) is not None:
            return known
        fetch = self._fetches.get(key)
        if fetch is None or fetch.done:
            fetch = self._fetches[key] = Shared(asyncio.Lock())
        fetch.join(repository.owner)
        shared = fetch

        async def fetch_text() -> CommitText:
            text = await self._fetch(transport, repository, commit, shared)
            self._known.put(repository.owner, key, text)
            return text

        return await fetch.get(fetch_text)

    async def _fetch(
        self, transport: Transport, repository: Repository, commit: str, shared: Shared[CommitText]
    ) -> CommitText:
        front, form = CommitFront(commit), "sha1" if len(commit) == _SHA1_CHARS else "sha256"

        async def request(_: float) -> None:
            nonlocal front
            with contextlib.suppress(CommitFront.Seen):
                try:
                    await transport.fetch(repository, commit, blobless=True, write=front.feed, shape=COMMIT_ALONE)
                except GitFilterRefused:  # without a filter: the pack is read up to the commit, which is first in it
                    front = CommitFront(commit)
                    await transport.fetch(repository, commit, blobless=False, write=front.feed)

        doing = f"fetching the message of {commit}"
        await self._exchanges.send(repository, doing, request, urgent=False, shared=shared, part=commit)
        return await self._pool.run(front.text, form, self._limits, owner=repository.owner)


def text_of(content: bytes) -> CommitText:
    r"""Author and message of a commit's content, which may be cut.

    >>> text_of(b"tree 0\nauthor A U Thor <a@example.com> 0 +0000\n\nFix\n")
    CommitText(name='A U Thor', email='a@example.com', message='Fix\n')
    """
    headers, _, message = content.partition(b"\n\n")
    encoding = "latin-1" if _OTHER_ENCODING.search(headers) else "utf-8"
    author = _AUTHOR.search(headers)
    name, email = (author[1], author[2]) if author else (b"", b"")
    return CommitText(
        name=name[:NAME_CHARS].decode(encoding, "replace").strip(),
        email=email[:NAME_CHARS].decode(encoding, "replace").strip(),
        message=message[: 4 * MESSAGE_CHARS].decode(encoding, "replace")[:MESSAGE_CHARS],
    )
