"""The types of values in the runtime config, and a section of it."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict
from pydantic.alias_generators import to_camel

from git_events_runner.resources.ssh import problem_of
from git_events_runner.rules.quantities import quantity

_INT64_MAX = 2**63 - 1


def _quantity(value: object) -> object:
    """The text of a quantity; YAML reads `1` and `0.5` as numbers."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _known_quantity(text: str) -> str:
    if quantity(text) is None:
        raise ValueError("must be a quantity, as 500m, 2, 64Mi or 10Gi")
    return text


def _network(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError:
        raise ValueError("must be a network, as 10.0.0.0/8 or fd00::/8") from None


Seconds = Annotated[int, Field(strict=True, ge=0, le=_INT64_MAX)]
Count = Annotated[int, Field(strict=True, ge=1, le=_INT64_MAX)]
Text = Annotated[str, Strict(), Field(min_length=1, max_length=4096)]
Label = Annotated[str, Strict(), Field(max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
Header = Annotated[str, Strict(), Field(max_length=256, pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]
HostName = Annotated[str, Strict(), Field(max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
Folder = Annotated[str, Strict(), Field(max_length=4096, pattern=r"^/[^/:$][^:$]*$")]
Prefix = Annotated[str, Strict(), Field(max_length=64, pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")]
Prefixes = Annotated[tuple[Text, ...], Field(max_length=1000)]
# A chart renders an unset account as an empty text.
Account = Annotated[str | None, BeforeValidator(lambda value: value or None)]
Network = Annotated[str, Strict(), AfterValidator(_network)]
Quantity = Annotated[str, Strict(), BeforeValidator(_quantity), AfterValidator(_known_quantity)]
Size = Annotated[
    str, Strict(), BeforeValidator(_quantity), AfterValidator(lambda text: _known_quantity(text) if text else text)
]
ResourceName = Annotated[str, Strict(), Field(max_length=253, pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?$")]
Quantities = Annotated[dict[ResourceName, Quantity], Field(max_length=20)]


class Section(BaseModel):
    """A mapping of known keys; one that is null (everything in it commented out) has its defaults."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="forbid", frozen=True)


def _known_hosts(text: str) -> str:
    problem = problem_of(text)
    if problem:
        raise ValueError(f"is no text of known hosts: {problem}")
    return text


KnownHosts = Annotated[str, Strict(), Field(max_length=512 * 1024), AfterValidator(_known_hosts)]
