"""What a person requests by annotation: a check, or a run even if nothing has changed.

The annotation's value is a token: any text, each handled once. The status keeps the last one that was handled, and is
written in the same request that counts what it requests, so that a token counts once through any crash.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from git_events_runner.resources.job import RUN_TOKEN_ANNOTATION
from git_events_runner.resources.kinds import GROUP
from git_events_runner.resources.status import TOKEN_CHARS
from git_events_runner.rules.ledger.entry import Entry, entry_of
from git_events_runner.rules.ledger.mutations import Guards, Outcome, draft

from .reference_entries import Listed, keys_of
from .references import reference_of, source_of

CHECK_ANNOTATION = f"{GROUP}/requested-at"
RUN_ANNOTATION = RUN_TOKEN_ANNOTATION
SOURCES_ANNOTATION = f"{GROUP}/run-requested-sources"
_FIELDS = {CHECK_ANNOTATION: "lastHandledRequestedAt", RUN_ANNOTATION: "lastHandledRunRequestedAt"}


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedRequest:
    """An unhandled token: for a run or only a check, of these sources; or why it cannot be handled.

    `known` is the token that was handled last when the annotation was read.
    """

    annotation: str
    token: str
    sources: tuple[str, ...]
    problem: str | None = None
    known: str | None = None

    @property
    def run(self) -> bool:
        """Whether a run is requested, independent of the check's result."""
        return self.annotation == RUN_ANNOTATION


def requests_of(
    metadata: Mapping[str, Any], status: Mapping[str, Any] | None, names: tuple[str, ...]
) -> tuple[AnnotatedRequest, ...]:
    """What the annotations of a trigger with these sources request that its status does not record as handled.

    >>> requests_of({"annotations": {RUN_ANNOTATION: "now"}}, {"lastHandledRunRequestedAt": "now"}, ("app",))
    ()
    """
    annotations = metadata.get("annotations")
    annotations = annotations if isinstance(annotations, Mapping) else {}
    return tuple(
        replace(_request(annotation, annotations[annotation], annotations, names, status), known=_token(status, field))
        for annotation, field in _FIELDS.items()
        if annotations.get(annotation) and annotations[annotation] != (status or {}).get(field)
    )


def has_requests(status: Mapping[str, Any]) -> bool:
    """Whether anything was ever requested by annotation."""
    return any(status.get(field) for field in _FIELDS.values())


def last_run_token(status: Mapping[str, Any] | None) -> str | None:
    """The token of the last requested run."""
    return _token(status, _FIELDS[RUN_ANNOTATION])


def _token(status: Mapping[str, Any] | None, field: str) -> str | None:
    token = (status or {}).get(field)
    return token if isinstance(token, str) and token else None


def _request(
    annotation: str,
    token: object,
    annotations: Mapping[str, Any],
    names: tuple[str, ...],
    status: Mapping[str, Any] | None,
) -> AnnotatedRequest:
    text = str(token)
    if len(text) > TOKEN_CHARS:
        problem = f"annotation {annotation} has more than {TOKEN_CHARS} characters; a time, or any short text, will do"
        return AnnotatedRequest(annotation=annotation, token=text[:TOKEN_CHARS], sources=(), problem=problem)
    if annotation != RUN_ANNOTATION or not annotations.get(SOURCES_ANNOTATION):
        return AnnotatedRequest(annotation=annotation, token=text, sources=names)
    chosen = tuple(dict.fromkeys(one.strip() for one in str(annotations[SOURCES_ANNOTATION]).split(",") if one.strip()))
    if not chosen:
        problem = f"annotation {SOURCES_ANNOTATION} names no source; remove it to run all sources"
        return AnnotatedRequest(annotation=annotation, token=text, sources=(), problem=problem)
    unknown = [one for one in chosen if one not in names and not is_reference(status, one, names)]
    if unknown:
        problem = (
            f"annotation {SOURCES_ANNOTATION} names {unknown[0][:TOKEN_CHARS]!r}, which is no source of the trigger"
            " and no reference that it has checked"
        )
        return AnnotatedRequest(annotation=annotation, token=text, sources=(), problem=problem)
    return AnnotatedRequest(annotation=annotation, token=text, sources=chosen)


def is_reference(status: Mapping[str, Any] | None, key: str, names: Collection[str]) -> bool:
    """Whether a key (`app@tags/v1`) is a reference of one of these sources that has an entry and is not deleted."""
    source = source_of(key)
    return source in names and key in keys_of(status, source) and _is_there(entry_of(status, key))


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRequest:
    """A token requests checks or runs of its sources at a time; the status keeps the token to recognise it."""

    request: AnnotatedRequest
    at: str

    def apply(self, status: dict[str, Any]) -> Outcome:
        """Count what is requested, once for each token.

        It is stale if another token was handled meanwhile: a late write by a former leader would count its token again,
        and the newer one would then be handled again.
        """
        field = _FIELDS[self.request.annotation]
        if status.get(field) == self.request.token:
            return Outcome.DONE
        if _token(status, field) != self.request.known:
            return Outcome.STALE
        status[field] = self.request.token
        for source in self.keys(status):
            before, entry = entry_of(status, source), draft(status, source, adopt=False)
            if self.request.run:
                entry["runRequested"], entry["runHandled"] = before.run_requested + 1, before.run_handled
            else:
                entry["requested"] += 1
            if before.announced is None or not before.is_open:
                entry["announced"] = {"commit": None, "at": self.at}
        return Outcome.WRITE

    def keys(self, status: Mapping[str, Any] | None) -> list[str]:
        """The entries to change: for a run with listed references, one for each reference that is not deleted.

        A source that is named with its reference (`app@tags/v1`) is that entry alone.
        """
        found: list[str] = []
        for source in self.request.sources:
            if reference_of(source) is not None:
                found += [source] if _is_there(entry_of(status, source)) else []
                continue
            references = keys_of(status, source) if self.request.run and Listed.of(status, source).at else None
            found += [source] if references is None else [key for key in references if _is_there(entry_of(status, key))]
        return list(dict.fromkeys(found))

    def guards(self) -> Guards:
        """The complete object: two leaders count a token once."""
        return Guards(complete=True)


def _is_there(entry: Entry) -> bool:
    """Whether the entry's reference ran, was recorded, or waits for its first run."""
    return entry.commit is not None or entry.waiting is not None
