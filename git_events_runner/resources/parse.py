"""From an object as the API server (or a manifest) has it to its model, once, at the border."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from git_events_runner.errors import InvalidObject

from .actions import Action, ActionSpec, ClusterAction, ClusterActionSpec
from .hints import meant
from .kinds import KINDS
from .meta import Metadata
from .notifiers import ClusterNotifier, ClusterNotifierSpec, Notifier, NotifierSpec, NotifierStatus
from .proxy import PROXY_URL, PROXY_URL_FORM
from .ref import Ref
from .repository_uri import FORMS, problem_of
from .sources import REPO_URI, ClusterGitRepo, ClusterGitRepoSpec, GitRepo, GitRepoSpec
from .status import RepositoryStatus, SourceStatus, TriggerStatus
from .triggers import ScheduleTrigger, ScheduleTriggerSpec, WebhookTrigger, WebhookTriggerSpec

Parsed = GitRepo | Action | ScheduleTrigger | WebhookTrigger | Notifier
_PROBLEMS_SHOWN = 5
_SHOWN_CHARS = 64
# Errors about a value that is no credential: it may be shown.
_NAMED_VALUES = frozenset(
    ("literal_error", "enum", "bool_type", "int_type", "tuple_type", "greater_than_equal", "less_than_equal")
)
_PLAIN = {
    "missing": "is required",
    "string_type": "must be a string",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "dataclass_type": "must be a mapping",
}
_FORMS = {
    REPO_URI: FORMS,
    PROXY_URL: PROXY_URL_FORM,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The classes that one kind is made of."""

    resource: type[Any]
    spec: type[Any]
    status: type[SourceStatus]


MODELS: dict[str, Model] = {
    "GitRepo": Model(resource=GitRepo, spec=GitRepoSpec, status=RepositoryStatus),
    "ClusterGitRepo": Model(resource=ClusterGitRepo, spec=ClusterGitRepoSpec, status=RepositoryStatus),
    "Action": Model(resource=Action, spec=ActionSpec, status=SourceStatus),
    "ClusterAction": Model(resource=ClusterAction, spec=ClusterActionSpec, status=SourceStatus),
    "ScheduleTrigger": Model(resource=ScheduleTrigger, spec=ScheduleTriggerSpec, status=TriggerStatus),
    "WebhookTrigger": Model(resource=WebhookTrigger, spec=WebhookTriggerSpec, status=TriggerStatus),
    "Notifier": Model(resource=Notifier, spec=NotifierSpec, status=NotifierStatus),
    "ClusterNotifier": Model(resource=ClusterNotifier, spec=ClusterNotifierSpec, status=NotifierStatus),
}

_READERS: dict[str, TypeAdapter[Any]] = {name: TypeAdapter(model.spec) for name, model in MODELS.items()}


def parse(obj: Mapping[str, Any]) -> Parsed:
    """The model of one of our eight kinds. Strict for the spec, lenient for the status; unknown fields are ignored.

    Raises:
        InvalidObject: The kind is none of ours, or a field is wrong; `field` is its dotted path in JSON names.
    """
    name = obj.get("kind")
    model = MODELS.get(name) if isinstance(name, str) else None
    if model is None or not isinstance(name, str):
        raise InvalidObject("kind", f"must be one of {', '.join(MODELS)}")
    kind = KINDS[name]
    if obj.get("apiVersion") != kind.api_version:
        raise InvalidObject("apiVersion", f"must be {kind.api_version} for a {name}")
    metadata = Metadata.of(obj)
    if kind.namespaced and not metadata.namespace:
        raise InvalidObject("metadata.namespace", f"is required for a {name}")
    if "spec" not in obj:
        raise InvalidObject("spec", "is required")
    try:
        spec = _READERS[name].validate_python(obj["spec"])
    except ValidationError as error:
        raise invalid("spec", error) from None
    return model.resource(  # type: ignore[no-any-return]  # the table above defines which
        ref=Ref(name, metadata.namespace if kind.namespaced else None, metadata.name),
        metadata=metadata,
        spec=spec,
        raw_status=_raw_status(obj),
    )


def again(model: Any, obj: Mapping[str, Any]) -> Parsed:
    """The model of an object whose spec is still the one that `model` was read from: only the rest is read.

    Raises:
        InvalidObject: There is no name.
    """
    return replace(model, metadata=Metadata.of(obj), raw_status=_raw_status(obj))  # type: ignore[no-any-return]  # as before


def _raw_status(obj: Mapping[str, Any]) -> Mapping[str, Any]:
    status = obj.get("status")
    return status if isinstance(status, Mapping) else {}


def invalid(root: str, error: ValidationError) -> InvalidObject:
    """What pydantic found, as our error: the first field, and in its problem the others with theirs."""
    problems = [one for one in error.errors(include_url=False) if not _follows(one)]
    found = [(dotted(root, problem["loc"]), _describe(problem)) for problem in problems]
    field, problem = found[0]
    others = "".join(f"; {where}: {what}" for where, what in found[1:_PROBLEMS_SHOWN])
    more = f"; and {len(found) - _PROBLEMS_SHOWN} more" if len(found) > _PROBLEMS_SHOWN else ""
    return InvalidObject(field, problem + others + more, tuple(found))


def _follows(problem: Mapping[str, Any]) -> bool:
    """Whether a list is too short only because its wrong items, which have problems of their own, are not counted."""
    given = problem.get("input")
    wanted = problem.get("ctx", {}).get("min_length", 0)
    return problem["type"] == "too_short" and isinstance(given, list | tuple) and len(given) >= wanted


def _describe(problem: Mapping[str, Any]) -> str:
    pattern = problem.get("ctx", {}).get("pattern")
    if pattern == REPO_URI and isinstance(problem.get("input"), str):
        return problem_of(problem["input"])
    return plain(problem["type"], problem["msg"], pattern, given=problem.get("input"))


def dotted(root: str, location: tuple[int | str, ...]) -> str:
    """A path in a document, in the notation of the API server.

    >>> dotted("spec", ("sources", "names", 3))
    'spec.sources.names[3]'
    """
    text = root
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def plain(kind: str, message: str, pattern: str | None = None, *, given: object = None) -> str:
    """A problem in plain words, from pydantic's error type and message (the pattern that did not match, the value).

    >>> plain("missing", "Field required")
    'is required'
    >>> plain("literal_error", "Input should be 'github' or 'gitlab'", given="githb")
    "must be 'github' or 'gitlab', found 'githb'; did you mean github?"
    >>> plain("too_short", "Tuple should have at least 1 item after validation, not 0")
    'must have at least 1 item'
    """
    words = _FORMS.get(pattern or "") or _PLAIN.get(kind) or message.removeprefix("Value error, ")
    words = words.replace("Input should be", "must be", 1).replace("greater than or equal to", "at least")
    words = words.replace("less than or equal to", "at most")
    length, validated, _ = words.partition(" after validation, not ")
    words = f"must have{length.partition(' should have')[2]}" if validated else words
    return words[0].lower() + words[1:] + (_found(message, given) if kind in _NAMED_VALUES else "")


def _found(message: str, given: object) -> str:
    """The value that is there, if it is a short one, and which of the allowed ones is like it."""
    if not isinstance(given, str | int | float) or len(str(given)) > _SHOWN_CHARS:
        return ""
    hint = meant(str(given), re.findall(r"'([^']*)'", message))
    return f", found {given!r}" + (f"; {hint}" if hint else "")
