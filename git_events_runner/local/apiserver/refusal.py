"""What the in-process API server refuses with: Status objects with the real one's codes, reasons and causes.

Shapes: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from git_events_runner.errors import GitEventsRunnerError
from git_events_runner.resources.kinds import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One thing wrong with one field; `reason` is the API's, as FieldValueInvalid."""

    field: str
    message: str
    reason: str = "FieldValueInvalid"

    def as_json(self) -> dict[str, str]:
        """The entry of `details.causes`."""
        return {"reason": self.reason, "message": self.message, "field": self.field}


class Refusal(GitEventsRunnerError):
    """A request that the in-process API server refuses; `body` is the Status object it answers with."""

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        self.code = code
        self.reason = reason
        self.details = details or {}
        super().__init__(message)

    @property
    def body(self) -> dict[str, Any]:
        """The Status object."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": str(self),
            "reason": self.reason,
            "code": self.code,
        }
        if self.details:
            status["details"] = self.details
        return status


def resource(kind: Kind) -> str:
    """The plural with its group, as messages name it.

    >>> from git_events_runner.resources.kinds import KINDS
    >>> resource(KINDS["Job"]), resource(KINDS["Secret"])
    ('jobs.batch', 'secrets')
    """
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural


def _details(kind: Kind, name: str, **more: Any) -> dict[str, Any]:
    details: dict[str, Any] = {"name": name, "kind": kind.plural, **more}
    return {**details, "group": kind.group} if kind.group else details


def not_found(kind: Kind, name: str) -> Refusal:
    """404 for an object that is not there."""
    return Refusal(404, "NotFound", f'{resource(kind)} "{name}" not found', _details(kind, name))


def no_such_path() -> Refusal:
    """404 for a path that is no resource."""
    return Refusal(404, "NotFound", "the server could not find the requested resource")


def already_exists(kind: Kind, name: str, *, deleting: bool) -> Refusal:
    """409 for a name that is taken, perhaps by an object being deleted."""
    prefix = "object is being deleted: " if deleting else ""
    message = f'{prefix}{resource(kind)} "{name}" already exists'
    return Refusal(409, "AlreadyExists", message, _details(kind, name))


def conflict(kind: Kind, name: str, why: str = "") -> Refusal:
    """409 for a version or uid that does not match."""
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {resource(kind)} "{name}": {why}'
    return Refusal(409, "Conflict", message, _details(kind, name))


def invalid(kind: Kind, name: str, causes: Sequence[Cause]) -> Refusal:
    """422 for an object that does not fit its kind."""
    parts = [f"{cause.field}: {cause.message}" for cause in causes]
    text = parts[0] if len(parts) == 1 else "[" + ", ".join(parts) + "]"
    singular = f"{kind.name}.{kind.group}" if kind.group else kind.name
    details = _details(kind, name, causes=[cause.as_json() for cause in causes]) | {"kind": kind.name}
    return Refusal(422, "Invalid", f'{singular} "{name}" is invalid: {text}', details)


def unprocessable() -> Refusal:
    """422 for a JSON Patch with a failed test or a path that is not there."""
    return Refusal(422, "Invalid", "the server rejected our request due to an error in our request")


def bad_request(message: str) -> Refusal:
    """400 for what cannot be read."""
    return Refusal(400, "BadRequest", message)


def wrong_request(field: str, message: str) -> Refusal:
    """400 for a field that may not be there; named in the details, for those who want to point at it."""
    cause = Cause(field=field, message=message)
    return Refusal(400, "BadRequest", message, {"causes": [cause.as_json()]})


def unsupported_media(content_type: str) -> Refusal:
    """415 for a content type that the verb does not take."""
    accepted = "application/json, application/json-patch+json, application/merge-patch+json"
    message = f"the body of the request was in an unknown format ({content_type}) - accepted media types: {accepted}"
    return Refusal(415, "UnsupportedMediaType", message)


def expired(message: str) -> Refusal:
    """410 for a version or a continue token that is too old."""
    return Refusal(410, "Expired", message)


def method_not_allowed() -> Refusal:
    """405 for a verb that the resource does not have."""
    return Refusal(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")


def terminating(kind: Kind, name: str, namespace: str) -> Refusal:
    """403 for a creation in a namespace that is being deleted."""
    why = f"unable to create new content in namespace {namespace} because it is being terminated"
    cause = {
        "reason": "NamespaceTerminating",
        "message": f"namespace {namespace} is being terminated",
        "field": "metadata.namespace",
    }
    message = f'{resource(kind)} "{name}" is forbidden: {why}'
    return Refusal(403, "Forbidden", message, _details(kind, name, causes=[cause]))


def unauthorized() -> Refusal:
    """401 for a token that is not ours."""
    return Refusal(401, "Unauthorized", "Unauthorized")
