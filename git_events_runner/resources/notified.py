"""`status.notified` of a trigger: which of its problems the receivers of Notifiers know."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from .part import PART, SAFE_MAX, Part, Text

NOTIFIED_MAX = 50

_Generation = Annotated[int, Field(strict=True, ge=0, le=SAFE_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class NotifiedProblem(Part):
    """A problem that was reported to one receiver."""

    notifier: Text | None = Field(default=None, description="The uid of the Notifier or ClusterNotifier.")
    reason: Text | None = Field(default=None, description="The reason of the condition Ready that was reported.")
    at: Text | None = Field(default=None, description="When it was reported last.")
    open: Annotated[bool, Field(strict=True)] | None = Field(
        default=None, description="Whether the receiver knows it as a problem that is not solved."
    )
    refused: _Generation | None = Field(
        default=None, description="The generation of the Notifier whose message the receiver refused permanently."
    )
