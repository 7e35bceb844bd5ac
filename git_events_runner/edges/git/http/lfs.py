"""Contents in Git LFS: the batch API and downloads of a repository's own server (git-lfs, docs/api/batch.md).

The answer of the batch API names the address of each download, which may be a storage service elsewhere. The address is
validated like every other, and gets the headers of the answer, never the source's credential.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import aiohttp
from yarl import URL

from git_events_runner.edges.git.request import Repository, shown
from git_events_runner.errors import (
    GitCutOff,
    GitError,
    GitForbidden,
    GitNotFound,
    GitProtocolError,
    GitTimeout,
    GitTooLarge,
    GitUnsupported,
)

from .errors import MOVED, refuse
from .failures import translate
from .transport import HttpTransport

_TYPE = "application/vnd.git-lfs+json"
_HEADERS = {"Accept": _TYPE, "Content-Type": _TYPE}
ANSWER_BYTES = 2**20
_MOST_HEADERS = 32
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}\Z")
_HEADER_VALUE = re.compile(r"[\x20-\x7e\t]{0,16384}\Z")
# Of the connection, not of the content.
_OWN_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "expect"})
_URL_CHARS = 16 * 1024
_OK, _MISSING, _GONE, _DENIED = 200, 404, 410, (401, 403)


@dataclass(frozen=True, slots=True, kw_only=True)
class LfsObject:
    """A content by its SHA-256, in hexadecimal digits, and its size."""

    oid: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """Where a content is; `repository` names its server, and has the credential only if it may be sent there."""

    repository: Repository
    url: URL
    headers: Mapping[str, str]


class LfsClient:
    """Requests contents; one client per clone."""

    def __init__(self, transport: HttpTransport) -> None:
        """Over the sessions of a transport, with its bounds of addresses."""
        self._transport = transport

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def batch(self, repository: Repository, url: str, objects: Sequence[LfsObject]) -> dict[str, Download]:
        """Where at most 100 contents are, by their SHA-256; `url` is that of the API.

        Raises:
            GitNotFound: The server has no API there, or lacks a content.
            GitError: Any other of its classes.
        """
        place = replace(repository, url=url)
        wanted = [{"oid": one.oid, "size": one.size} for one in objects]
        body = {"operation": "download", "transfers": ["basic"], "objects": wanted, "hash_algo": "sha256"}
        headers = dict(_HEADERS)
        if place.credential is not None:
            headers["Authorization"] = place.credential.authorization
        answer = bytearray()

        def store(data: bytes) -> None:
            answer.extend(data)
            if len(answer) > ANSWER_BYTES:
                raise GitTooLarge(f"{place}: the answer of the LFS server has more than {ANSWER_BYTES} bytes")

        target = URL(url + "/objects/batch", encoded=True)
        try:
            await self._send(place, "POST", target, json.dumps(body).encode(), headers, store)
        except GitNotFound as error:
            raise GitNotFound(f"{place}: the server has no Git LFS for this repository") from error
        listed = batch_of(place, answer)
        return {one.oid: _download(repository, place, one, listed.get(one.oid)) for one in objects}

    async def download(self, wanted: LfsObject, download: Download, write: Callable[[bytes], object]) -> None:
        """Write a content, whose size is checked as it arrives, and whose hash at the end.

        Raises:
            GitProtocolError: It is another content.
            GitError: Any other of its classes.
        """
        state, size = hashlib.sha256(), 0

        def store(data: bytes) -> None:
            nonlocal size
            size += len(data)
            if size > wanted.size:
                raise GitProtocolError(f"{download.repository}: the content has more than its {wanted.size} bytes")
            state.update(data)
            write(data)

        await self._send(download.repository, "GET", download.url, b"", download.headers, store)
        if size != wanted.size:
            raise GitCutOff(f"{download.repository}: the content was cut off after {size} of {wanted.size} bytes")
        if state.hexdigest() != wanted.oid:
            raise GitProtocolError(f"{download.repository}: the content has another SHA-256 than its pointer names")

    async def _send(
        self,
        repository: Repository,
        method: str,
        url: URL,
        body: bytes,
        headers: Mapping[str, str],
        take: Callable[[bytes], object],
    ) -> None:
        transport = self._transport
        transport.check_address(url)
        try:
            context = await transport.context(repository)
            async with transport.sessions.request(
                repository, method, url, body=body, headers=headers, context=context
            ) as answer:
                if answer.status in MOVED:
                    raise GitUnsupported(f"{repository}: the LFS server redirects, which is not followed")
                if answer.status != _OK:
                    refuse(repository, answer, answer.status)
                if answer.headers.get("Content-Encoding", "identity") != "identity":
                    raise GitProtocolError(f"{repository}: the LFS server compresses although it was not allowed to")
                while data := await answer.content.readany():
                    take(data)
        except GitError:
            raise
        except aiohttp.ServerTimeoutError as error:
            raise GitTimeout(f"{repository}: the LFS server sent nothing for a while") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise translate(repository, error) from error


def batch_of(api: Repository, answer: bytes | bytearray) -> dict[str, Any]:
    """The batch API's answer for each content, by its SHA-256.

    Raises:
        GitProtocolError: The answer cannot be read.
    """
    try:
        return {one["oid"]: one for one in json.loads(answer)["objects"]}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise GitProtocolError(f"{api}: the answer of the LFS server cannot be read") from error


def _download(source: Repository, api: Repository, wanted: LfsObject, found: Any) -> Download:
    """The batch API's answer for one content.

    Raises:
        GitNotFound: The server lacks it.
        GitForbidden: The credential may not read it.
        GitProtocolError: The answer cannot be used.
    """
    if not isinstance(found, dict) or found.get("size", wanted.size) != wanted.size:
        raise GitProtocolError(f"{api}: the LFS server does not answer for {wanted.oid}, or has another size for it")
    if error := found.get("error"):
        _refused(api, wanted, error)
    actions = found.get("actions")
    action = actions.get("download") if isinstance(actions, dict) else None
    href = action.get("href") if isinstance(action, dict) else None
    if not isinstance(href, str) or len(href) > _URL_CHARS:
        raise GitNotFound(f"{api}: the LFS server has no download for {wanted.oid}")
    try:
        url = URL(href, encoded=True)
    except ValueError as error:
        raise GitProtocolError(f"{api}: the LFS server names a download that is no URL") from error
    if url.scheme not in {"http", "https"} or not url.host or (source.scheme == "https" and url.scheme != "https"):
        raise GitProtocolError(f"{api}: the LFS server names a download of another scheme than https")
    headers = _headers(api, action.get("header") if isinstance(action, dict) else None)
    place = str(url.with_query(None).with_fragment(None).with_user(None))
    if URL(api.url).origin() != url.with_user(None).origin():
        return Download(repository=Repository(url=place, owner=source.owner), url=url, headers=headers)
    own = replace(source, url=place)
    given = any(name.lower() == "authorization" for name in headers) or found.get("authenticated") is True
    if own.credential is not None and not given:
        headers = {**headers, "Authorization": own.credential.authorization}
    return Download(repository=own, url=url, headers=headers)


def _refused(api: Repository, wanted: LfsObject, error: Any) -> NoReturn:
    code = error.get("code") if isinstance(error, dict) else None
    detail = shown(str(error.get("message", ""))) if isinstance(error, dict) else ""
    text = f"{api}: the LFS server does not give {wanted.oid}: {code} {detail}".rstrip()
    if code in {_MISSING, _GONE}:
        raise GitNotFound(text)
    if code in _DENIED:
        raise GitForbidden(text)
    raise GitProtocolError(text)


def _headers(api: Repository, given: Any) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, dict) or len(given) > _MOST_HEADERS:
        raise GitProtocolError(f"{api}: the LFS server gives headers that cannot be sent")
    found: dict[str, str] = {}
    for name, value in given.items():
        if not isinstance(value, str) or not _HEADER_NAME.match(name) or not _HEADER_VALUE.match(value):
            raise GitProtocolError(f"{api}: the LFS server gives a header that cannot be sent")
        if name.lower() not in _OWN_HEADERS:
            found[name] = value
    return found
