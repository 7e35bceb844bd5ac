"""Lists in pages and watches of the in-process API server.

Protocol: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import orjson

from git_events_runner.concurrency.bounded_dict import BoundedDict
from git_events_runner.resources.kinds import Kind

from .builtin import is_builtin
from .refusal import Refusal, bad_request, expired
from .selectors import Predicate
from .storage import Change, Storage

_PAGES_KEPT = 200
_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. "
    "You can start a new list without the continue parameter."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What a GET on a collection requests."""

    kind: Kind
    namespace: str | None
    chosen: Predicate
    selective: bool
    limit: int = 0
    continue_token: str = ""
    resource_version: str = ""
    bookmarks: bool = False
    timeout_s: float = 1800.0


def version_of(text: str) -> int:
    """A resource version as a number; 0 for "" and "0".

    Raises:
        Refusal: 400 for anything else that is no number.
    """
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()):
        raise bad_request(f'invalid resource version "{text}"')
    return int(text)


class Lister:
    """Lists in pages; the pages after the first show the collection as it was at the first."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._pages: BoundedDict[str, tuple[int, list[dict[str, Any]]]] = BoundedDict(_PAGES_KEPT)

    def forget(self) -> None:
        """Let all continue tokens given out be too old."""
        self._pages.clear()

    def answer(self, query: Query) -> dict[str, Any]:
        """The List object of one page.

        Raises:
            Refusal: 410 when the continue token is too old.
        """
        if query.continue_token:
            version, items = self._rest(query)
        else:
            version_of(query.resource_version)
            version = self._storage.version
            items = [item for item in self._storage.items(query.kind, query.namespace) if query.chosen(item)]
        page, rest = (items[: query.limit], items[query.limit :]) if query.limit else (items, [])
        metadata: dict[str, Any] = {"resourceVersion": str(version)}
        if rest:
            token = secrets.token_urlsafe(24)
            self._pages[token] = (version, rest)
            metadata["continue"] = token
            if not query.selective:
                metadata["remainingItemCount"] = len(rest)
        if is_builtin(query.kind):
            page = [{name: item[name] for name in item if name not in {"kind", "apiVersion"}} for item in page]
        kind = query.kind
        return {"kind": f"{kind.name}List", "apiVersion": kind.api_version, "metadata": metadata, "items": page}

    def _rest(self, query: Query) -> tuple[int, list[dict[str, Any]]]:
        if query.resource_version not in {"", "0"}:
            raise bad_request("specifying resource version is not allowed when using continue")
        found = self._pages.get(query.continue_token)
        if found is None:
            raise expired(_TOO_OLD)
        return found


class Watcher:
    """The stream of one watch: one line of JSON an event."""

    def __init__(self, *, storage: Storage, query: Query, bookmark_s: float) -> None:
        self._log = storage.log(query.kind)
        self._storage = storage
        self._query = query
        self._bookmark_s = bookmark_s
        self._first: list[bytes] = []
        self._version = version_of(query.resource_version)
        if self._version == 0:
            items = storage.items(query.kind, query.namespace)
            self._first = [_line("ADDED", item) for item in items if query.chosen(item)]
            self._version = storage.version

    async def lines(self) -> AsyncIterator[bytes]:
        """Events until the time is over, the server stops, or the version is too old (an ERROR event)."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._query.timeout_s
        mark = loop.time() + self._bookmark_s
        if self._first:
            yield b"".join(self._first)
        while not self._log.closed and loop.time() < end:
            try:
                changes = self._log.after(self._version)
            except Refusal as refusal:
                yield _line("ERROR", refusal.body)
                return
            if changes:
                self._version = changes[-1].version
                found = b"".join(line for change in changes if (line := self._event(change)))
                if found:
                    yield found
            if self._query.bookmarks and loop.time() >= mark:
                mark = loop.time() + self._bookmark_s
                yield self._bookmark()
            if not changes:
                soonest = min(end, mark) if self._query.bookmarks else end
                await self._log.wait(self._version, max(soonest - loop.time(), 0))
        if self._query.bookmarks and not self._log.closed:
            yield self._bookmark()

    def _event(self, change: Change) -> bytes | None:
        """The event that this watch sees of a change: entering its selection is ADDED, leaving it DELETED."""
        metadata = change.obj["metadata"]
        if self._query.namespace is not None and metadata.get("namespace") != self._query.namespace:
            return None
        now = change.type != "DELETED" and self._query.chosen(change.obj)
        before = change.before is not None and self._query.chosen(change.before)
        if not now and not before:
            return None
        type_ = "MODIFIED" if now and before else "ADDED" if now else "DELETED"
        return _line(type_, change.obj)

    def _bookmark(self) -> bytes:
        kind = self._query.kind
        if not self._log.after(self._version):
            self._version = max(self._version, self._storage.version)
        metadata = {"resourceVersion": str(self._version)}
        return _line("BOOKMARK", {"kind": kind.name, "apiVersion": kind.api_version, "metadata": metadata})


def _line(type_: str, obj: Any) -> bytes:
    return orjson.dumps({"type": type_, "object": obj}) + b"\n"
