"""`spec.retry` of triggers, and what a Job records for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from .kinds import GROUP
from .part import PART, Part, Text
from .rule import Rule

RETRIES_MAX = 100
BACKOFF_CHARS = 16
GENERATION_ANNOTATION = f"{GROUP}/trigger-generation"
ATTEMPT_ANNOTATION = f"{GROUP}/attempt"
RETRY_ANNOTATIONS = frozenset((GENERATION_ANNOTATION, ATTEMPT_ANNOTATION))

Retries = Annotated[int, Field(strict=True, ge=0, le=RETRIES_MAX)]
_BACKOFF = Rule(
    pattern=r"^[1-9][0-9]{0,3}[smhd]( ?[1-9][0-9]{0,3}[smhd])*$",
    message="write whole numbers with units, as 30s, 5m or 1h 30m; units are s, m, h and d",
)
_DIGITS = 12
_TWICE = "on is given twice, with quotes and without: remove one"

Causes = Annotated[tuple[Literal["Failed", "CloneFailed"], ...], Field(max_length=2)]


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class Retry(Part):
    """Whether runs that fail are run again."""

    rules: ClassVar[tuple[tuple[str, str], ...]] = (("!(has(self.on) && has(self.__true__))", _TWICE),)

    limit: Retries = Field(default=0, description="How often a failed run is run again, each time by a new Job.")
    backoff: Annotated[Text, Field(max_length=BACKOFF_CHARS), _BACKOFF] = Field(
        default="1m",
        description="How long after its end a run is run again the first time; the time doubles with each retry, up to "
        "an hour (or `backoff`, if that is longer).",
    )
    on: Causes | None = Field(
        default=None,
        description="Which runs: `Failed`: the action failed, or ran too long; `CloneFailed`: the repository could not "
        "be cloned; unset: both. In YAML write it with quotes, because YAML 1.1 reads a plain `on` as `true`.",
    )
    unquoted: Causes | None = Field(
        default=None, alias="true", description="What YAML 1.1 makes of `on` without quotes; it means the same."
    )

    @property
    def causes(self) -> Causes:
        """Which failed runs are run again."""
        given = self.unquoted if self.on is None else self.on
        return ("Failed", "CloneFailed") if given is None else given

    @model_validator(mode="after")
    def _on_is_given_once(self) -> Self:
        if self.on is not None and self.unquoted is not None:
            raise ValueError(_TWICE)
        return self


@plain_dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Which attempt at a run a Job is, from 1; `most` is the number of attempts that the trigger allows."""

    number: int = 1
    most: int = 1

    @classmethod
    def of(cls, annotations: Mapping[str, Any]) -> Attempt:
        """Read a Job's annotations.

        >>> Attempt.of({ATTEMPT_ANNOTATION: "2/4"}), Attempt.of({})
        (Attempt(number=2, most=4), Attempt(number=1, most=1))
        """
        number, _, most = (annotations.get(ATTEMPT_ANNOTATION) or "").partition("/")
        found = [
            int(text) if len(text) <= _DIGITS and text.isascii() and text.isdigit() else 0 for text in (number, most)
        ]
        return cls(number=max(found[0], 1), most=max(found[1], found[0], 1))

    def __str__(self) -> str:
        """As in the annotation and in the history: `2/4`."""
        return f"{self.number}/{self.most}"

    @property
    def annotations(self) -> dict[str, str]:
        """The annotation of a retry; a first attempt has none."""
        return {ATTEMPT_ANNOTATION: str(self)} if self.number > 1 else {}


FIRST_ATTEMPT = Attempt()
