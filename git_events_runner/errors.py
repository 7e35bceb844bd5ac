"""Every exception class of ours, each states whether the same attempt may succeed later.

Edges translate the errors of their libraries into these (`raise … from`); no other room imports a library to catch
them. A message states what was being done, to which object, and what to do next. No credential ever enters one.
"""

from __future__ import annotations

import traceback
from typing import ClassVar

_FRAMES = 3


def single(error: BaseException) -> BaseException:
    """The first single error inside groups of groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def bug_report(error: BaseException) -> str:
    """One line for an unexpected error: what it is, where it was raised, and where to report it.

    >>> bug_report(ExceptionGroup("", [KeyError("spec")]))
    "internal error: KeyError: 'spec'; this is a bug: please report this line (see CONTRIBUTING.md)"
    """
    cause = single(error)
    frames = traceback.extract_tb(cause.__traceback__)
    own = [frame for frame in frames if "git_events_runner" in frame.filename.split("/")]
    places = [
        f"{frame.filename.rpartition('git_events_runner/')[2]}:{frame.lineno}" for frame in reversed(own[-_FRAMES:])
    ]
    where = f" (at {', '.join(places)})" if places else ""
    what = " ".join(f"{type(cause).__name__}: {cause}".split())
    return f"internal error: {what}{where}; this is a bug: please report this line (see CONTRIBUTING.md)"


class GitEventsRunnerError(Exception):
    """Root of all errors raised on purpose by this program."""

    retryable: ClassVar[bool] = False


class ConfigError(GitEventsRunnerError):
    """Settings, a runtime config or a manifest file are wrong; `problems` names every field."""

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


class InvalidObject(GitEventsRunnerError):
    """A stored object does not fit its kind; `field` is its dotted path, `problem` what is wrong with it.

    `problems` has every field with its problem, where several are wrong; `problem` has a few of them in one line.
    """

    def __init__(self, field: str, problem: str, problems: tuple[tuple[str, str], ...] = ()) -> None:
        self.field = field
        self.problem = problem
        self.problems = problems or ((field, problem),)
        super().__init__(f"{field}: {problem}")


class TaskEnded(GitEventsRunnerError):
    """A coroutine that must run forever has returned: a bug, never a condition of the world."""


class ClusterRestored(GitEventsRunnerError):
    """The API server's data is older than what was seen of it: nothing in memory may be relied on any more."""


class FenceLost(GitEventsRunnerError):
    """This replica may no longer act as the leader; the work belongs to the next one."""

    retryable = True


# --- the API server -------------------------------------------------------------------------------------


class ApiError(GitEventsRunnerError):
    """The API server refused a request; `status` is the HTTP code, `reason` the reason of its Status object."""

    status: int = 0

    def __init__(self, message: str, *, status: int = 0, reason: str = "", causes: tuple[str, ...] = ()) -> None:
        self.status = status or type(self).status
        self.reason = reason
        self.causes = causes
        super().__init__(message)

    @property
    def answered(self) -> bool:
        """Whether the API server answered, with any status; else nothing came from it."""
        return self.status != 0


class ApiNotFound(ApiError):
    """404: no such object, or its kind is not installed."""

    status = 404


class ApiConflict(ApiError):
    """409 Conflict: the object changed meanwhile, or quota accounting collided."""

    status = 409
    retryable = True


class ApiAlreadyExists(ApiError):
    """409 AlreadyExists: an object of that name exists (perhaps terminating)."""

    status = 409


class ApiInvalid(ApiError):
    """422, or 400: the object, the patch or one of its tests does not hold."""

    status = 422


class ApiGone(ApiError):
    """410: the resource version or the continue token is too old."""

    status = 410
    retryable = True


class ApiUnauthorized(ApiError):
    """401: the credential of this program is not accepted."""

    status = 401
    retryable = True


class ApiForbidden(ApiError):
    """403: a missing role, an admission plugin, a quota, or a terminating namespace (see `causes`)."""

    status = 403
    retryable = True

    @property
    def namespace_terminating(self) -> bool:
        """Whether the namespace is being deleted, so that nothing can be created in it ever again."""
        return "NamespaceTerminating" in self.causes


class ApiTooManyRequests(ApiError):
    """429: come back after `retry_after_s` seconds; nothing was done."""

    status = 429
    retryable = True
    retry_after_s: float = 1.0


class ApiUnavailable(ApiError):
    """Time-out, reset connection or 5xx: the outcome of the request is unknown."""

    retryable = True


# --- git servers ----------------------------------------------------------------------------------------


class GitError(GitEventsRunnerError):
    """A request to a git server has no answer; `reason` is the condition reason it becomes.

    `retry_after_s` is when to try again, 0: unknown. `repeated`: no request was sent, it is the last failure.
    """

    reason: ClassVar[str] = "GitError"
    retryable = True
    retry_after_s: float = 0.0
    repeated: bool = False


class GitUnreachable(GitError):
    """No connection: name resolution, refused, reset, or the server answered 5xx."""

    reason = "Unreachable"


class GitTimeout(GitError):
    """The overall deadline of the request passed."""

    reason = "Timeout"


class GitTlsError(GitError):
    """The server's certificate is not accepted, or the CA given is not one."""

    reason = "TlsFailed"


class GitAuthRequired(GitError):
    """401: the server wants a credential, or does not accept the one sent."""

    reason = "AuthenticationFailed"


class GitForbidden(GitError):
    """403: the credential is known and may not read this repository."""

    reason = "AccessDenied"


class GitNotFound(GitError):
    """404: no repository there (or a credential is needed to see it)."""

    reason = "RepositoryNotFound"


class GitReferenceNotFound(GitError):
    """The repository has no such branch, tag or commit."""

    reason = "ReferenceNotFound"


class GitRateLimited(GitError):
    """429, or 503 with Retry-After: try again after `retry_after_s` seconds."""

    reason = "RateLimited"

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class GitTooLarge(GitError):
    """An answer passed one of its caps."""

    reason = "RepositoryTooLarge"
    retryable = False


class GitTooManyReferences(GitTooLarge):
    """The patterns of a trigger select more references than are read."""

    reason = "TooManyReferences"


class GitRedirectRefused(GitError):
    """The server redirects to another host or scheme; credentials do not follow."""

    reason = "RedirectRefused"
    retryable = False


class GitAddressRefused(GitError):
    """The host's addresses are none that a source may name: loopback, link-local, or refused by setting."""

    reason = "AddressRefused"
    retryable = False


class GitProtocolError(GitError):
    """The answer is not git's protocol: a login page, a cut stream, a broken packet."""

    reason = "ProtocolError"


class GitFilterRefused(GitProtocolError):
    """The server offers filters, and refuses the one that was requested (`uploadpackfilter.*.allow` of git)."""


class GitCutOff(GitProtocolError):
    """The answer ended before it was complete: the connection or the server's program broke, so it may work again."""


class GitEmptyAnswer(GitCutOff):
    """The server's program ended without a word, as git does at a request that it does not understand."""


class GitUnsupported(GitError):
    """This program cannot speak to that repository (transport, object format)."""

    reason = "Unsupported"
    retryable = False


class GitHostKeyRefused(GitError):
    """The host key that an SSH server offered (`offered`, as `ssh-ed25519 AAAA…`) is not accepted."""

    retryable = False

    def __init__(self, message: str, *, offered: str) -> None:
        self.offered = offered
        super().__init__(message)


class GitHostKeyUnknown(GitHostKeyRefused):
    """No key is known for the SSH server."""

    reason = "HostKeyUnknown"


class GitHostKeyChanged(GitHostKeyRefused):
    """Other keys than the one offered are known for the SSH server, or the one offered is revoked."""

    reason = "HostKeyChanged"


class SecretUnusable(GitEventsRunnerError):
    """A Secret (or a key in it) that a source names is missing or unreadable; `reason` is the condition reason."""

    retryable = True

    def __init__(self, message: str, *, reason: str = "SecretNotFound") -> None:
        self.reason = reason
        super().__init__(message)
