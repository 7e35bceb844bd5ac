"""`spec.actionJob.clone`: how much of the repository a run gets."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from .bounds import MOST_PATTERNS, PATTERN_CHARACTERS
from .clone_options import BLOBLESS, CloneOptions
from .part import INT32_MAX, PART, Flag, Part, Text
from .rule import Rule

# Of ActionJob, which has both fields.
HISTORY_IS_KEPT = (
    "!has(self.clone) || self.preserveGitFolder || (self.clone.depth == 1 && !self.clone.tags)",
    "clone.depth other than 1 and clone.tags need preserveGitFolder: true: only a .git folder has history and tags",
)
_HOSTS_OF_SUBMODULES = "submoduleHosts has an effect only with submodules: true"
_MOST_HOSTS = 32
_HOST_CHARS = 260
HOST = Rule(
    pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?$",
    message="write a host name or an IPv4 address, perhaps with a port (git.example:8443), without scheme and path",
)
HostName = Annotated[Text, Field(max_length=_HOST_CHARS), HOST]


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class CloneSpec(Part):
    """How much of the repository is cloned."""

    rules: ClassVar[tuple[tuple[str, str], ...]] = (
        ("self.submodules || !has(self.submoduleHosts) || size(self.submoduleHosts) == 0", _HOSTS_OF_SUBMODULES),
    )

    depth: Annotated[int, Field(strict=True, ge=0, le=INT32_MAX)] = Field(
        default=1,
        description="How many commits of the history `.git` has, the cloned one included; 0: the complete history. "
        "Other than 1 only with preserveGitFolder.",
        json_schema_extra={"format": "int32"},
    )
    tags: Flag = Field(
        default=False,
        description="true: `.git` has the tags of the commits in it, so that `git describe` works. Only with "
        "preserveGitFolder.",
    )
    filter: Literal["none", "blob:none"] = Field(
        default="none",
        description="`blob:none`: of the repository's contents of files, only those of the files that are written are "
        "fetched; with preserveGitFolder, `.git` is a partial clone. For large repositories with `sparse`, or with a "
        "`depth`.",
    )
    sparse: Annotated[
        tuple[Annotated[Text, Field(max_length=PATTERN_CHARACTERS)], ...], Field(max_length=MOST_PATTERNS)
    ] = Field(
        default=(),
        description="Patterns as in a .gitignore file: only files that they select are written; without patterns all.",
        json_schema_extra={"default": []},
    )

    submodules: Flag = Field(
        default=False,
        description="true: submodules are cloned, too, without history. Those at the source's own host, scheme "
        "and port are cloned with its credential, all others without one.",
    )
    submodule_hosts: Annotated[tuple[HostName, ...], Field(max_length=_MOST_HOSTS)] = Field(
        default=(),
        description="Other hosts, as `host` or `host:port`, that submodules may be cloned from, over http or https.",
        json_schema_extra={"default": []},
    )

    lfs: Flag = Field(
        default=False,
        description="true: files in Git LFS are fetched from the source's own LFS server, for sources with an http or "
        "https URL.",
    )

    @model_validator(mode="after")
    def _hosts_are_for_submodules(self) -> Self:
        if self.submodule_hosts and not self.submodules:
            raise ValueError(_HOSTS_OF_SUBMODULES)
        return self

    @property
    def options(self) -> CloneOptions:
        """What the cloner gets of it."""
        return CloneOptions(
            depth=self.depth,
            tags=self.tags,
            blobless=self.filter == BLOBLESS,
            sparse=self.sparse,
            submodules=self.submodules,
            submodule_hosts=tuple(host.lower() for host in self.submodule_hosts),
            lfs=self.lfs,
        )

    @property
    def has_history(self) -> bool:
        """Whether it only makes sense with a `.git` folder."""
        return self.depth != 1 or self.tags
