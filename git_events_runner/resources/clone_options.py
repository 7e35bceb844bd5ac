"""How much of a repository the init container clones, as the controller passes it and the cloner reads it.

The variable `GIT_EVENTS_RUNNER_CLONE` holds `CloneOptions.to_json()`; without it, all options have their defaults.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Self

from git_events_runner.errors import ConfigError

OPTIONS_VARIABLE = "GIT_EVENTS_RUNNER_CLONE"
BLOBLESS = "blob:none"


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneOptions:
    """What is cloned: `depth` commits of history (0: all), without old contents of files if `blobless`.

    `tags`: with the tags of these commits. `sparse`: patterns of the files that are written; none: all. `submodules`:
    with those at the source's own host and at `submodule_hosts`. `lfs`: with contents of Git LFS.
    """

    depth: int = 1
    tags: bool = False
    blobless: bool = False
    sparse: tuple[str, ...] = ()
    submodules: bool = False
    submodule_hosts: tuple[str, ...] = ()
    lfs: bool = False

    def to_json(self) -> str:
        """The value of the variable: what differs from the defaults; empty if nothing does.

        >>> CloneOptions(depth=0).to_json(), CloneOptions().to_json()
        ('{"depth":0}', '')
        """
        default = CloneOptions()
        names = (field.name for field in dataclasses.fields(self))
        found = {name: getattr(self, name) for name in names if getattr(self, name) != getattr(default, name)}
        return json.dumps(found, sort_keys=True, separators=(",", ":")) if found else ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ConfigError: It is something else, or has an option that this cloner does not know.
        """
        if not text:
            return cls()
        try:
            value = json.loads(text)
        except ValueError as error:
            raise ConfigError(f"{OPTIONS_VARIABLE} is not JSON") from error
        types = {field.name: type(field.default) for field in dataclasses.fields(cls)}
        if not isinstance(value, dict):
            raise ConfigError(f"{OPTIONS_VARIABLE} is not a JSON object")
        if unknown := sorted(value.keys() - types.keys()):
            raise ConfigError(f"{OPTIONS_VARIABLE}: this cloner does not know {', '.join(unknown)[:100]}")
        found: dict[str, Any] = {name: _read(name, types[name], given) for name, given in value.items()}
        return cls(**found)


def _read(name: str, wanted: type, given: Any) -> Any:
    if wanted is tuple and isinstance(given, list) and all(isinstance(each, str) for each in given):
        return tuple(given)
    if type(given) is not wanted or (isinstance(given, int) and given < 0):
        raise ConfigError(f"{OPTIONS_VARIABLE}: {name} is wrong")
    return given
