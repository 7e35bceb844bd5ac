"""What the parts of a spec have in common: JSON names, null as absent, unknown fields ignored, "one of" rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import ConfigDict, Field, GetJsonSchemaHandler, Strict, model_validator
from pydantic.alias_generators import to_camel
from pydantic.dataclasses import dataclass
from pydantic_core import core_schema

from .rule import Rule

NAME_CHARS = 253
REFERENCE_CHARS = 1024
INT32_MAX = 2**31 - 1
SAFE_MAX = 2**53 - 1  # beyond it not every reader of JSON has whole numbers
LONGEST_S = (2**63 - 1) // 10**9  # what Kubernetes, which counts nanoseconds, can wait

Text = Annotated[str, Strict()]
Name = Annotated[str, Strict(), Field(max_length=NAME_CHARS)]
Flag = Annotated[bool, Strict()]
Texts = tuple[Text, ...]
TextMap = dict[Text, Text]

# What git-check-ref-format(1) requires of a name, and one rule of its own for what people take for a pattern.
ONE_NAME = Rule(
    pattern=r"[*?\[]",
    forbidden=True,
    message="a reference is one branch or tag: write its name; patterns go into references.branches and "
    "references.tags",
)
GIT_NAME = Rule(
    pattern=r"^$|^@$|[\x00-\x20\x7f~^:\\]|[.][.]|@[{]|//|^/|/$|[.]$|^[.]|/[.]|[.]lock$|[.]lock/",
    forbidden=True,
    message="write a name as git takes it: no blanks, none of ~ ^ : \\, no .., // or @{, no / or . at either end, "
    "no part that begins with a dot or ends with .lock",
)
COMMIT_ID = Rule(
    pattern=r"^([0-9A-Fa-f]{40}|[0-9A-Fa-f]{64})$",
    message="write the full commit id, 40 or 64 hexadecimal digits (git rev-parse prints it)",
)
RefName = Annotated[Text, Field(max_length=REFERENCE_CHARS), ONE_NAME, GIT_NAME]

PART = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="ignore")


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class Part:
    """A frozen value without a `__dict__` (thousands are held).

    Fields named in `one_of`: exactly one must be given. `rules`: CEL rules of the API server, each with its message;
    the class checks the same.
    """

    one_of: ClassVar[tuple[str, ...]] = ()
    rules: ClassVar[tuple[tuple[str, str], ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _json_names(cls, data: Any) -> Any:
        """A null is what is not there; only JSON names count in an object (the constructor takes Python's)."""
        if isinstance(data, Mapping):
            return {name: value for name, value in data.items() if value is not None and "_" not in name}
        return data

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        names = type(self).one_of
        given = [name for name in names if getattr(self, name) is not None]
        if names and len(given) != 1:
            found = f"found {' and '.join(given)}" if given else "found none"
            raise ValueError(f"{one_of_message(names)}, {found}")
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """The JSON schema; the "one of" rule as a CEL rule of the API server, the alternatives as not nullable."""
        found = handler.resolve_ref_schema(handler(schema))
        if cls.one_of:
            given = ", ".join(f"has(self.{name})" for name in cls.one_of)
            rule = f"[{given}].exists_one(given, given)"
            found["x-kubernetes-validations"] = [{"rule": rule, "message": one_of_message(cls.one_of)}]
            for name in cls.one_of:
                found["properties"][name]["nullable"] = False
        if cls.rules:
            rules = [{"rule": rule, "message": message} for rule, message in cls.rules]
            found["x-kubernetes-validations"] = [*found.get("x-kubernetes-validations", ()), *rules]
        return found


def one_of_message(names: tuple[str, ...]) -> str:
    """The message for a refused object, by the API server and by us.

    >>> one_of_message(("branch", "tag", "commit"))
    'exactly one of branch, tag and commit must be set'
    """
    return f"exactly one of {', '.join(names[:-1])} and {names[-1]} must be set"


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class Reference(Part):
    """A branch, a tag or a commit of a repository."""

    one_of: ClassVar[tuple[str, ...]] = ("branch", "tag", "commit")

    branch: RefName | None = Field(default=None, description="Name of a branch.")
    tag: RefName | None = Field(default=None, description="Name of a tag.")
    commit: Annotated[Text, Field(max_length=REFERENCE_CHARS), COMMIT_ID] | None = Field(
        default=None, description="Full id of a commit, in hexadecimal digits."
    )

    @property
    def type(self) -> str:
        """Which of branch, tag and commit it is."""
        return next(name for name in self.one_of if getattr(self, name) is not None)

    @property
    def name(self) -> str:
        """The name of the branch or tag, or the commit's id."""
        return next(value for value in (self.branch, self.tag, self.commit) if value is not None)

    @property
    def full_name(self) -> str:
        """The full name of the branch or tag; of a commit its id.

        >>> Reference(branch="main").full_name
        'refs/heads/main'
        """
        if self.commit is not None or self.name.startswith("refs/"):
            return self.name
        return f"refs/{'tags' if self.tag is not None else 'heads'}/{self.name}"
