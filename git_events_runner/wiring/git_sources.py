"""Joins Secrets and git: a source object becomes a request, a Job's credential becomes a copy.

What flow knows as `Git` and `Copies`; made by app.py, which is why it may know both edges.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, Protocol, TypeVar

from git_events_runner.edges.git.remote import Remote
from git_events_runner.edges.git.request import (
    GitRequest,
    Reference,
    ReferenceList,
    Repository,
    ResolvedReference,
    TreeEntry,
)
from git_events_runner.edges.ports import KubeClient, SecretReader
from git_events_runner.errors import (
    ApiAlreadyExists,
    ApiConflict,
    ApiForbidden,
    GitAuthRequired,
    GitError,
    GitHostKeyRefused,
    SecretUnusable,
)
from git_events_runner.resources.bounds import FILE_BYTES
from git_events_runner.resources.commits import CommitText
from git_events_runner.resources.description import KNOWN_HOSTS_FILE
from git_events_runner.resources.job import REASON_ANNOTATION
from git_events_runner.resources.kinds import KINDS
from git_events_runner.resources.ref import Ref
from git_events_runner.resources.ssh import HostKeyPolicy, SshAddress
from git_events_runner.rules.check_result import CheckResult
from git_events_runner.rules.jobs.clone import secrets_of
from git_events_runner.rules.jobs.manifest import secret_copy
from git_events_runner.rules.jobs.run import SecretKeys
from git_events_runner.rules.ledger.report import Problem
from git_events_runner.rules.messages import Unchanged
from git_events_runner.rules.references import source_of
from git_events_runner.rules.resolve import Resolved
from git_events_runner.wiring.host_keys import HostKeys
from git_events_runner.wiring.kept_responses import KeptResponses

_T = TypeVar("_T")
_S = TypeVar("_S")
_KEYS_TRIED = 3
RemoteInUse = AbstractAsyncContextManager[Remote]


class Resolve(Protocol):
    """Finds what a run needs."""

    def __call__(self, trigger: Any, source: str, /, *, deleted: bool = False) -> Resolved | Problem:
        """What a run of a trigger and the key of an entry needs, or why there may be none."""


class _InUse:
    """One request on a remote, for `async with`."""

    __slots__ = ("_end", "_remote")

    def __init__(self, remote: Remote, end: Callable[[Remote], Awaitable[None]]) -> None:
        self._remote = remote
        self._end = end

    async def __aenter__(self) -> Remote:
        return self._remote

    async def __aexit__(self, *_: object) -> None:
        await self._end(self._remote)


class Build(Protocol):
    """Builds the repository that a source is for a namespace."""

    def __call__(self, source: Any, namespace: str, files: Mapping[str, str], policy: HostKeyPolicy, /) -> Repository:
        """The repository, with the contents of the Secrets that the source names."""


class Remotes(Generic[_S]):
    """The way to git servers as the settings are now; when they change, requests under way end in the old one.

    An old one is closed with its last request; one that was idle then, with the next request of all.
    """

    def __init__(self, *, settings: Callable[[], _S], make: Callable[[_S], Remote]) -> None:
        """`make` is called with the settings before the first request, and after each change of theirs."""
        self._settings = settings
        self._make = make
        self._remotes: dict[Remote, int] = {}  # requests under way; the last one is that of the settings
        self._of: _S | None = None

    def current(self) -> RemoteInUse:
        """That of the settings as they are now, for one request."""
        settings = self._settings()
        if settings is not self._of:
            if not self._remotes or settings != self._of:
                self._remotes[self._make(settings)] = 0
            self._of = settings
        remote = next(reversed(self._remotes))
        self._remotes[remote] += 1
        return _InUse(remote, self._end)

    async def _end(self, remote: Remote) -> None:
        self._remotes[remote] -= 1
        while len(self._remotes) > 1 and (old := self._oldest_idle()) is not None:
            del self._remotes[old]
            await old.close()

    def _oldest_idle(self) -> Remote | None:
        """The oldest one of former settings without a request under way."""
        return next((one for one in list(self._remotes)[:-1] if not self._remotes[one]), None)

    def forget(self, keys: Collection[str]) -> None:
        """Drop what is remembered of repositories that are configured no more, by `Repository.key`."""
        for remote in self._remotes:
            remote.forget(keys)

    async def close(self) -> None:
        """Close all connections."""
        for remote in self._remotes:
            await remote.close()


class GitSources:
    """Sends requests to git servers about source objects, with the credentials that they name."""

    def __init__(
        self,
        *,
        secrets: SecretReader,
        host_keys: HostKeys,
        remote: Callable[[], RemoteInUse],
        build: Build,
        answers: KeptResponses,
    ) -> None:
        """`remote` is called for each request, and entered while it lasts; `build` gives a source's repository."""
        self._build = build
        self._kept = answers
        self._secrets = secrets
        self._host_keys = host_keys
        self._remote = remote

    async def commit_of(
        self,
        source: Any,
        namespace: str,
        ref_type: str,
        ref_name: str,
        *,
        urgent: bool = False,
        unchanged: Unchanged | None = None,
    ) -> ResolvedReference:
        """The commit of a reference of a GitRepo or ClusterGitRepo, from a request sent after the call.

        Args:
            source: Its model.
            namespace: The trigger's.
            ref_type: branch, tag or commit.
            ref_name: Its name.
            urgent: Send a request even if the source failed a moment ago (a webhook reports a change).
            unchanged: What an answer from a request sent before the call has to show to be used; None: none is.

        Raises:
            GitError: The git server gave no answer.
            SecretUnusable: A Secret that the source names cannot be used.
        """
        reference = Reference(ref_type, ref_name)  # type: ignore[arg-type]  # checked by the model

        async def send(repository: Repository) -> ResolvedReference:
            async def request() -> ResolvedReference:
                async with self._remote() as remote:
                    return await remote.commit_of(GitRequest(repository, reference), urgent=urgent)

            return await self._kept.get(repository, reference, request, unchanged=unchanged)

        return await self._send_resolved(source, namespace, send)

    async def references_of(
        self, source: Any, namespace: str, prefixes: Sequence[str], *, urgent: bool = False
    ) -> ReferenceList:
        """The references of a GitRepo or ClusterGitRepo that begin like this, from a request sent after the call.

        Raises:
            GitError: The git server gave no complete answer.
            SecretUnusable: A Secret that the source names cannot be used.
        """

        async def send(repository: Repository) -> ReferenceList:
            async with self._remote() as remote:
                return await remote.references(repository, prefixes, urgent=urgent)

        return await self._send_resolved(source, namespace, send)

    async def tree(self, source: Any, namespace: str, commit: str) -> Iterable[TreeEntry]:
        """The entries of a commit's tree, without contents.

        Raises:
            GitError: The git server gave no answer, or not this commit.
            SecretUnusable: A Secret that the source names cannot be used.
        """

        async def send(repository: Repository) -> Iterable[TreeEntry]:
            async with self._remote() as remote:
                return await remote.tree(repository, commit)

        return await self._send_resolved(source, namespace, send)

    async def commit_text(self, source: Any, namespace: str, commit: str) -> CommitText:
        """Author and message of a commit.

        Raises:
            GitError: The git server gave no answer, or not this commit.
            SecretUnusable: A Secret that the source names cannot be used.
        """

        async def send(repository: Repository) -> CommitText:
            async with self._remote() as remote:
                return await remote.commit_text(repository, commit)

        return await self._send_resolved(source, namespace, send)

    async def learn_host_key(self, source: Any, namespace: str, ref_type: str, ref_name: str) -> None:
        """Learn the host key of a source that only a Job connects to, so that the Job has one to compare with.

        Raises:
            GitHostKeyRefused: The server's key is not accepted.
            SecretUnusable: A Secret that the source names cannot be used.
        """
        files = await self._files(source, namespace)
        access = self._build(source, namespace, files, self._host_keys.policy).ssh
        if access is None or access.insecure or access.known_hosts:
            return
        try:
            await self.commit_of(source, namespace, ref_type, ref_name)
        except GitHostKeyRefused:
            raise
        except GitError:
            return  # the Job reports any other problem

    async def _send_resolved(self, source: Any, namespace: str, send: Callable[[Repository], Awaitable[_T]]) -> _T:
        """Send a request with the source's credential; retry once with a Secret read again, or an accepted host key."""
        files = await self._files(source, namespace)
        forgotten = False
        own = bool(files.get(KNOWN_HOSTS_FILE, "").strip())
        for left in range(_KEYS_TRIED, -1, -1):
            try:
                repository = self._build(source, namespace, files, self._host_keys.policy)
                answer = await send(repository)
            except SecretUnusable as unusable:
                raise _named(unusable, secrets_of(source, namespace)) from None
            except GitAuthRequired as refused:
                if forgotten or refused.repeated or not self._forget(source, namespace):
                    raise
                forgotten = True  # the Secret may have been rotated within the cache time
                renewed = await self._files(source, namespace)
                if renewed == files:
                    raise
                files = renewed
            except GitHostKeyRefused as refused:
                address = SshAddress.of(source.spec.repo_uri)
                if address is None or not left:
                    raise
                source = await self._host_keys.refused(source, address, refused, own=own)
            else:
                if repository.ssh is not None:
                    await self._host_keys.confirm(source, own=own)
                return answer
        raise AssertionError("the last try returns or raises")  # pragma: no cover

    def _forget(self, source: Any, namespace: str) -> bool:
        wanted = secrets_of(source, namespace)
        for keys in wanted:
            self._secrets.forget(keys.namespace, keys.name)
        return bool(wanted)

    async def _files(self, source: Any, namespace: str) -> dict[str, str]:
        """What the source's Secrets hold, by the names of `resources.description`."""
        files: dict[str, str] = {}
        for keys in secrets_of(source, namespace):
            files |= {name: _utf8(value, keys, name) for name, value in (await read_keys(self._secrets, keys)).items()}
        return files


class SecretCopier:
    """Copies the Secret of a cluster source next to the Job that needs it."""

    def __init__(self, *, api: KubeClient, resolve: Resolve, secrets: SecretReader) -> None:
        self._api = api
        self._resolve = resolve
        self._secrets = secrets

    async def copy_for(self, job: Mapping[str, Any], trigger: Any, source: str) -> None:
        """Create the Secret that the Job mounts and owns, from the source as it is declared now.

        Raises:
            SecretUnusable: The source, the Secret or a key in it is missing, or the policy is against it by now.
            ApiError: The API server refused.
        """
        namespace = job["metadata"]["namespace"]
        if namespace != trigger.ref.namespace or source_of(source) not in trigger.spec.sources.names:
            message = f"Job {namespace}/{job['metadata']['name']} is for {source}, which {trigger.ref} does not name"
            raise SecretUnusable(message, reason="SourceNotFound")
        reason = (job["metadata"].get("annotations") or {}).get(REASON_ANNOTATION)
        resolved = self._resolve(trigger, source, deleted=reason == CheckResult.FIRE_DELETED)
        if isinstance(resolved, Problem):
            raise SecretUnusable(resolved.message, reason=resolved.reason)
        data: dict[str, str] = {}
        for keys in secrets_of(resolved.cloned_model, namespace):
            found = await read_keys(self._secrets, keys)
            data |= {name: base64.b64encode(value).decode() for name, value in found.items()}
        wanted = secret_copy(job, data)
        try:
            await self._api.create(KINDS["Secret"], wanted, strict=True)
        except ApiAlreadyExists:
            try:
                existing = await self._api.get(Ref("Secret", namespace, wanted["metadata"]["name"]))
            except ApiForbidden:
                return  # it may be created there, not read: the one of an earlier attempt, as its name is the Job's
            owners = existing["metadata"].get("ownerReferences") or ()
            if not any(owner.get("uid") == job["metadata"]["uid"] for owner in owners):
                message = f"Secret {namespace}/{wanted['metadata']['name']} exists and is not this Job's; delete it"
                raise ApiConflict(message) from None


async def read_keys(secrets: SecretReader, keys: SecretKeys) -> dict[str, bytes]:
    """The wanted keys of a Secret, by file name.

    Raises:
        SecretUnusable: The Secret or one of its keys is missing, or a value is too large for its use.
    """
    data = await secrets.get(keys.namespace, keys.name, *keys.files, *keys.optional)
    optional = {key: data[key] for key in keys.optional if key in data}
    missing = [key for key in keys.files if key not in data]
    if missing:
        raise SecretUnusable(
            f"Secret {keys.namespace}/{keys.name} has no key {', '.join(sorted(missing))}; add it or name another key",
            reason="SecretKeyMissing",
        )
    found = {name: data[key] for key, name in keys.files.items()} | optional
    for name, value in found.items():
        if len(value) > FILE_BYTES[name]:
            raise SecretUnusable(
                f"Secret {keys.namespace}/{keys.name}: what is used as {name} has {len(value)} bytes; at most "
                f"{FILE_BYTES[name]} are allowed: shorten it",
                reason="SecretInvalid",
            )
    return found


def _named(unusable: SecretUnusable, wanted: Sequence[SecretKeys]) -> SecretUnusable:
    """The error, and which Secret it is about, where its message does not name one."""
    if not wanted or str(unusable).startswith("Secret "):
        return unusable
    names = " or ".join(dict.fromkeys(f"{keys.namespace}/{keys.name}" for keys in wanted))
    return SecretUnusable(f"Secret {names}: {unusable}", reason=unusable.reason)


def _utf8(value: bytes, keys: SecretKeys, name: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise SecretUnusable(
            f"Secret {keys.namespace}/{keys.name}: what is used as {name} is not UTF-8 text", reason="SecretInvalid"
        ) from None
