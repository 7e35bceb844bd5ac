"""`status.history` of a trigger: its last runs, newest first."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from .part import PART, SAFE_MAX, Part, Text

HISTORY_DEFAULT = 10
HISTORY_MAX = 50

HistoryLimit = Annotated[int, Field(strict=True, ge=0, le=HISTORY_MAX)]
_Number = Annotated[int, Field(strict=True, ge=0, le=SAFE_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class RunRecord(Part):
    """One run."""

    number: _Number | None = Field(default=None, description="Number of the run, among those of its source.")
    source: Text | None = Field(
        default=None,
        description="The source that it is a run of, with the reference if several are watched (`app@heads/main`).",
    )
    commit: Text | None = Field(default=None, description="The commit that it runs, in short.")
    author: Text | None = Field(default=None, description="The commit's author, in short; known where `ignore` is set.")
    subject: Text | None = Field(
        default=None, description="The first line of the commit's message, in short; known where `ignore` is set."
    )
    reason: Text | None = Field(
        default=None,
        description="Why it was started: `fire-first`, `fire-changed`, `fire-always`, `fire-requested`, `retry`.",
    )
    job: Text | None = Field(default=None, description="Name of its Job, which may be deleted by now.")
    phase: Text | None = Field(default=None, description="As `phase` of `lastJob`.")
    queued: Text | None = Field(default=None, description="When its Job was created.")
    started: Text | None = Field(default=None, description="When its Job started.")
    finished: Text | None = Field(default=None, description="When its Job ended, or was seen to be deleted.")
    attempt: Text | None = Field(
        default=None, description="Of a retry: which attempt it is, of how many, as `2/4`; the first one has none."
    )
    exit_code: Annotated[int, Field(strict=True)] | None = Field(
        default=None, description="Exit code of the container that failed, where Kubernetes reports it."
    )
