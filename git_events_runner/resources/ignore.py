"""`spec.ignore`: which commits are recorded without a run, by their author or message."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from .part import PART, Flag, Part, Text
from .rule import Rule

IGNORED_MAX = 16
IGNORED_CHARS = 128

PATTERN = Rule(
    pattern=r"^[*?]*$|[\x00-\x1f\x7f]",
    forbidden=True,
    message="write the author's or the message's characters, with * for any number of characters and ? for one, as "
    "renovate* or *[skip ci]*; [ and ] are plain characters; a pattern needs more than * and ?, and no line breaks",
)
Patterns = Annotated[
    tuple[Annotated[Text, Field(max_length=IGNORED_CHARS), PATTERN], ...], Field(max_length=IGNORED_MAX)
]


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class Ignore(Part):
    """Which commits run nothing: a commit that any of the fields selects is recorded without a run."""

    authors: Patterns = Field(
        default=(),
        description="Patterns of the author's name, e-mail address, or both as `Name <address>`: `*` matches any "
        "characters, `?` one; upper and lower case are the same.",
    )
    messages: Patterns = Field(
        default=(),
        description="Patterns, as for `authors`, of the commit's subject (first line) or complete message.",
    )
    skip_ci: Flag = Field(
        default=False,
        description="true: ignore commits with `[skip ci]`, `[ci skip]`, `[no ci]`, `[skip actions]`, "
        "`[actions skip]` or `***NO_CI***` in the message, or with the trailer `skip-checks: true`.",
    )

    @property
    def is_empty(self) -> bool:
        """Whether it selects no commit."""
        return not (self.authors or self.messages or self.skip_ci)
