"""When runs of a trigger may start: windows, a quiet time after changes, and a time between runs."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from .part import PART, Part, Text
from .rule import Rule
from .schedules import INTERVAL, cron_rules

WINDOWS_MAX = 16
_CRON_CHARS = 128
_LENGTH_CHARS = 64
_ZONE_CHARS = 64

_ZONE = Rule(
    pattern=r"^[A-Za-z0-9_+/-]+$",
    message="write the name of a time zone, as Europe/Kyiv or UTC",
    in_model=False,
)
Length = Annotated[Text, Field(max_length=_LENGTH_CHARS), INTERVAL]
_Cron = Annotated[Text, Field(max_length=_CRON_CHARS)]
_CRON_RULES = {"x-kubernetes-validations": cron_rules()[:1]}  # its shape; the controller names a wrong field
_ZONE_TWICE = "give the time zone once: in timeZone, or in the expression"


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class Window(Part):
    """A time that begins at each time of a cron expression: runs may start only in allowed ones, in no denied one."""

    one_of: ClassVar[tuple[str, ...]] = ("allow", "deny")
    rules: ClassVar[tuple[tuple[str, str], ...]] = tuple(
        (f"!has(self.timeZone) || !has(self.{name}) || !self.{name}.matches(r'(?i)tz=')", _ZONE_TWICE)
        for name in ("allow", "deny")
    )

    allow: _Cron | None = Field(
        default=None,
        description="Cron expression (as `schedule.cron`) of the times when the window opens: runs may start in it.",
        json_schema_extra=_CRON_RULES,  # type: ignore[arg-type]  # JSON, as pydantic wants it
    )
    deny: _Cron | None = Field(
        default=None,
        description="Cron expression of the times when the window begins: no run starts in it, also if another window "
        "allows it.",
        json_schema_extra=_CRON_RULES,  # type: ignore[arg-type]  # JSON, as pydantic wants it
    )
    duration: Length = Field(description="How long the window is, in real time, such as `9h` or `1h 30m`.")
    time_zone: Annotated[Text, Field(max_length=_ZONE_CHARS), _ZONE] | None = Field(
        default=None, description="Time zone of the expression, such as `Europe/Berlin`; unset: UTC."
    )


Windows = Annotated[tuple[Window, ...], Field(max_length=WINDOWS_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class Debounce(Part):
    """Several changes in a short time run once."""

    quiet: Length = Field(description="A change runs when the reference has not moved for this time, such as `30s`.")
    max: Length | None = Field(
        default=None,
        description="A change runs at the latest this time after the reference moved first; unset: ten times `quiet`.",
    )
