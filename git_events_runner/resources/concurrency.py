"""`spec.concurrency` of triggers: which runs may not overlap, and what happens to those that would."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from .part import PART, Part, Text

CONCURRENT_MAX = 1000
GROUP_CHARS = 63
PolicyName = Literal["Allow", "Queue", "QueueLatest", "Replace"]

_GROUP_OR_SCOPE = "group and scope exclude each other: a group is shared by triggers, and has no scope"
_ONE_AT_A_TIME = "limit must be 1 with policy Replace: a new run stops the one that runs"


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class Concurrency(Part):
    """Which runs may not overlap."""

    rules: ClassVar[tuple[tuple[str, str], ...]] = (
        ("!(has(self.scope) && has(self.group))", _GROUP_OR_SCOPE),
        ("!(has(self.policy) && self.policy == 'Replace' && has(self.limit) && self.limit != 1)", _ONE_AT_A_TIME),
    )

    policy: PolicyName = Field(
        default="Allow",
        description="`Allow`: runs may overlap. `Queue`: all of them run, one after the other, in order. "
        "`QueueLatest`: as `Queue`, but a newer run of the same source supersedes a waiting one. `Replace`: as "
        "`QueueLatest`, and a newer run of the same source stops the running one.",
    )
    scope: Literal["Trigger", "Source"] | None = Field(
        default=None,
        description="What may not overlap: runs of the same `Source`, or of the entire `Trigger`; unset: Source.",
    )
    group: Annotated[Text, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=GROUP_CHARS)] | None = Field(
        default=None,
        description="Instead of a scope: a name that triggers of the namespace share; their runs do not overlap.",
    )
    limit: Annotated[int, Field(strict=True, ge=1, le=CONCURRENT_MAX)] = Field(
        default=1, description="How many runs of the scope or group may run at the same time."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.scope is not None and self.group is not None:
            raise ValueError(_GROUP_OR_SCOPE)
        if self.policy == "Replace" and self.limit != 1:
            raise ValueError(_ONE_AT_A_TIME)
        return self
