"""The last ls-refs request of a repository and its response: usually both are repeated, byte for byte."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache

from git_events_runner.edges.git.protocol import (
    Capabilities,
    LsRefs,
    RemoteRef,
    ls_refs_request,
)

_KEPT_BYTES = 4096


class LastResponse:
    """The last ls-refs request of a repository and its response: usually both are repeated, byte for byte."""

    __slots__ = ("answer", "limit_bytes", "names", "refs", "request")

    def __init__(self, names: Collection[str], capabilities: Capabilities, limit_bytes: int) -> None:
        if len(names) == 1 and capabilities.is_short:
            self.names, self.request = _for_one(capabilities, *names)
        else:
            self.names = frozenset(names)
            self.request = ls_refs_request(capabilities, self.names)
        self.limit_bytes = limit_bytes
        self.answer = b""
        self.refs: Mapping[str, RemoteRef] = {}


@lru_cache(maxsize=256)
def _for_one(capabilities: Capabilities, name: str) -> tuple[frozenset[str], bytes]:
    """The name alone, and its request: the same for all repositories of which `main` is watched."""
    names = frozenset((name,))
    return names, ls_refs_request(capabilities, names)


class RepeatedResponse:
    """Takes an answer to ls-refs; it is not parsed if it equals the last one."""

    __slots__ = ("_first", "_last", "_parser", "_parts")

    def __init__(self, last: LastResponse) -> None:
        self._last = last
        self._parts = 0
        self._first = b""
        self._parser: LsRefs | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the answer.

        Raises:
            GitError: As LsRefs.feed.
        """
        self._parts += 1
        if self._parts == 1:
            self._first = data
            if data == self._last.answer:
                return
        if self._parser is None:
            self._parser = LsRefs(self._last.names, limit_bytes=self._last.limit_bytes)
            if self._parts > 1:
                self._parser.feed(self._first)
        self._parser.feed(data)

    def finish(self) -> Mapping[str, RemoteRef]:
        """The references found.

        Raises:
            GitProtocolError: The answer was cut off.
        """
        if self._parts == 1 and self._parser is None:
            return self._last.refs
        refs = (self._parser or LsRefs(self._last.names, limit_bytes=self._last.limit_bytes)).finish()
        if self._parts == 1 and len(self._first) <= _KEPT_BYTES:
            self._last.answer, self._last.refs = self._first, refs
        return refs
