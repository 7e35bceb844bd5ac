"""Secrets that are kept elsewhere: `--secret [NAMESPACE/]NAME/KEY=VARIABLE` or `…=@FILE` gives a key its value here."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from git_events_runner.errors import ConfigError
from git_events_runner.resources.ref import Ref

FORM = "[NAMESPACE/]NAME/KEY=VARIABLE or …=@FILE"
_DEFAULT = "default"
_PARTS = (2, 3)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StandIn:
    """One key of a Secret; never shown, for it holds the value."""

    secret: Ref
    key: str
    value: bytes

    @property
    def encoded(self) -> str:
        """The value as a Secret's `data` has it."""
        return base64.b64encode(self.value).decode()

    def __repr__(self) -> str:
        return f"StandIn({self.secret}, {self.key}, ***)"


def stand_ins(options: Sequence[str], environment: Mapping[str, str]) -> list[StandIn]:
    """Read the options' values.

    Raises:
        ConfigError: An option has another form, or its variable or file is not there.
    """
    found: list[StandIn] = []
    problems: list[str] = []
    for option in options:
        try:
            found += _stand_in(option, environment)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(*problems)
    return found


def _stand_in(option: str, environment: Mapping[str, str]) -> Iterator[StandIn]:
    place, _, origin = option.partition("=")
    parts = place.split("/")
    if len(parts) not in _PARTS or not all(parts) or not origin.removeprefix("@"):
        shown = f"{place}=…" if origin else place  # what is behind it may be a secret that was meant as a value
        raise ConfigError(f"--secret {shown}: must be {FORM}")
    *namespace, name, key = parts
    secret = Ref("Secret", namespace[0] if namespace else _DEFAULT, name)
    if origin.startswith("@"):
        path = Path(origin[1:]).expanduser()
        try:
            value = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"--secret {place}: {path} cannot be read: {error.strerror}") from error
    elif origin in environment:
        value = environment[origin].encode("utf-8", "surrogateescape")
    else:
        problem = "is followed by no variable of the environment; a value itself is not taken on the command line"
        raise ConfigError(f"--secret {place}=…: {problem}: export a variable and write its name")
    yield StandIn(secret=secret, key=key, value=value)
