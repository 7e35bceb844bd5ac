"""Windows of the installation in the runtime config."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, Strict, model_validator
from pydantic.alias_generators import to_camel

from git_events_runner.errors import InvalidObject
from git_events_runner.rules.windows import parse_windows

_Text = Annotated[str, Strict(), Field(max_length=128)]


class WindowConfig(BaseModel):
    """When runs may start, or may not: as a window of a trigger."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="forbid", frozen=True)

    allow: _Text | None = Field(default=None, description="Cron expression of the times when runs may start.")
    deny: _Text | None = Field(default=None, description="Cron expression of the times when no run starts.")
    duration: _Text = Field(description="How long the window is.")
    time_zone: _Text | None = Field(default=None, description="Time zone of the expression; unset: UTC.")

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        if (self.allow is None) == (self.deny is None):
            raise ValueError("exactly one of allow and deny must be set")
        try:
            parse_windows((self,), "windows")
        except InvalidObject as error:
            raise ValueError(f"{error.field.rpartition('.')[2]} {error.problem}") from None
        return self
