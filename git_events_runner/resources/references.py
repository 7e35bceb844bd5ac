"""Branches, tags and pull requests: which of a repository's references a trigger watches, each by itself."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic.config import JsonDict
from pydantic.dataclasses import dataclass

from .part import PART, Name, Part, Text
from .pull_requests import PullRequests
from .rule import Rule

PATTERNS_MAX = 32
PATTERN_CHARS = 255
RANGE_CHARS = 255
REFERENCES_MAX = 1000
LIMIT = 100

PATTERN = Rule(
    pattern=r"^$|^refs/|[\x00-\x20\x7f~^:\\\[\]]|[.][.]|@[{]|//|^/|/$|[.]$|[^/][*][*]|[*][*][^/]|^[.]|/[.]|[.]lock$|[.]lock/",
    forbidden=True,
    message="write a name below refs/heads/ or refs/tags/, with * and ? for characters within a part and ** for any "
    "parts, as release/* or feature/**; [ ] and what git allows in no name are not taken",
)
_NUMBER = "0|[1-9][0-9]*"
_PART = f"({_NUMBER}|[xX*])"
_IDENTIFIERS = "[0-9A-Za-z-]+([.][0-9A-Za-z-]+)*"
_VERSION = f"v?{_PART}([.]{_PART}([.]{_PART}(-{_IDENTIFIERS})?)?)?"
_COMPARATOR = f"(\\^|~|>=|<=|>|<|=)?{_VERSION}"
_SET = f"{_COMPARATOR}( +{_COMPARATOR})*"
RANGE = Rule(
    pattern=f"^{_SET}( *[|][|] *{_SET})*$",
    message="write comparators with blanks between them, as >=1.2 <2, ^1.2, ~1.2.3 or 1.x, and || between alternatives",
)

Pattern = Annotated[Text, Field(max_length=PATTERN_CHARS), PATTERN]
Patterns = Annotated[tuple[Pattern, ...], Field(max_length=PATTERNS_MAX)]
Included = Annotated[tuple[Pattern, ...], Field(min_length=1, max_length=PATTERNS_MAX)]

_ALL = ("**",)
_SET_OR_NOT: JsonDict = {"nullable": False}
_NONE = "at least one of branches, tags and pullRequests must be set"


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class Branches(Part):
    """Which branches are watched."""

    include: Included = Field(
        default=_ALL,
        description="Patterns of names: `*` and `?` match characters of one part, `**` any number of parts.",
        json_schema_extra={"default": ["**"]},
    )
    exclude: Patterns = Field(default=(), description="Patterns of names that are not watched although included.")


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class Tags(Branches):
    """Which tags are watched."""

    semver: Annotated[Text, Field(max_length=RANGE_CHARS), RANGE] | None = Field(
        default=None,
        description="A range of versions (https://semver.org), as `>=1.2 <2`: only the highest version in it is "
        "watched, and runs when it rises. A tag's version is its name, or what follows a `/`, `-`, `_` or `@` in it, "
        "with or without a `v`. Pre-releases count if a comparator names one of the same version.",
    )


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class References(Part):
    """Patterns of references, each of which is watched by itself."""

    rules: ClassVar[tuple[tuple[str, str], ...]] = (
        ("has(self.branches) || has(self.tags) || has(self.pullRequests)", _NONE),
    )

    branches: Branches | None = Field(
        default=None, description="Which branches are watched; unset: none.", json_schema_extra=_SET_OR_NOT
    )
    tags: Tags | None = Field(
        default=None, description="Which tags are watched; unset: none.", json_schema_extra=_SET_OR_NOT
    )
    pull_requests: PullRequests | None = Field(
        default=None,
        description="Which pull requests (GitLab: merge requests) are watched, for a WebhookTrigger with the type of a "
        "forge; unset: none. Deliveries report them, they are never polled.",
        json_schema_extra=_SET_OR_NOT,
    )
    limit: Annotated[int, Field(strict=True, ge=1, le=REFERENCES_MAX)] = Field(
        default=LIMIT,
        description="How many references have an entry in the status. While more match, those that moved last have "
        "one, and the Ready condition has the warning TooManyReferences. It holds for pull requests by themselves.",
    )

    @model_validator(mode="after")
    def _any(self) -> Self:
        if self.branches is None and self.tags is None and self.pull_requests is None:
            raise ValueError(_NONE)
        return self


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class OnDelete(Part):
    """The action that runs when a watched reference is deleted."""

    kind: Literal["Action", "ClusterAction"] = Field(default="Action", description="Kind of the action.")
    name: Name = Field(description="Name of the action.")
