"""Versions in the names of tags (https://semver.org), and ranges of them.

A range has alternatives (`||`) of comparators that all hold: `=`, `<`, `<=`, `>`, `>=`, `^` (same first number that is
not 0) and `~` (same first two numbers), with numbers left out or `x` for any. As everywhere, a pre-release is in a
range only if one of the comparators names a pre-release of the same version.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from semver import Version

__all__ = ["Range", "Version", "version_of"]

_NUMBER = r"(?:0|[1-9][0-9]{0,17})"
_PRE = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION = re.compile(
    rf"(?:^|(?<=[/_@-]))v?({_NUMBER}[.]{_NUMBER}[.]{_NUMBER}(?:-{_PRE}(?:[.]{_PRE})*)?(?:[+][0-9A-Za-z-]+(?:[.][0-9A-Za-z-]+)*)?)\Z",
    re.ASCII,
)
_COMPARATOR = re.compile(r"(\^|~|>=|<=|>|<|=)?v?([0-9xX*]+)(?:[.]([0-9xX*]+)(?:[.]([0-9xX*]+)(?:-(.+))?)?)?")
_ANY = frozenset("xX*")
_NUMBERS = 3


@lru_cache(maxsize=16384)
def version_of(name: str) -> Version | None:
    """The version that a tag's name is, or ends with after `/`, `-`, `_` or `@`.

    >>> str(version_of("v1.2.3")), str(version_of("api/v2.0.0-rc.1")), version_of("v1.2")
    ('1.2.3', '2.0.0-rc.1', None)
    """
    found = _VERSION.search(name)
    return Version.parse(found[1]) if found else None


@dataclass(frozen=True, slots=True)
class _Bound:
    """`at_least` or below a version; `named`: the pre-release that a comparator names."""

    version: Version
    below: bool
    strict: bool

    def holds(self, version: Version) -> bool:
        order = version.compare(self.version)
        if order == 0:
            return not self.strict
        return order < 0 if self.below else order > 0


@dataclass(frozen=True, slots=True)
class Range:
    """Alternatives, each of bounds that all hold."""

    alternatives: tuple[tuple[_Bound, ...], ...]

    @classmethod
    def of(cls, text: str) -> Range:
        """Read a range that `resources.references.RANGE` accepts."""
        return _range(text)

    def __contains__(self, version: Version) -> bool:
        return any(_within(bounds, version) for bounds in self.alternatives)


@lru_cache(maxsize=1024)
def _range(text: str) -> Range:
    return Range(tuple(tuple(b for c in one.split() for b in _bounds(c)) for one in text.split("||")))


def _within(bounds: tuple[_Bound, ...], version: Version) -> bool:
    if not all(bound.holds(version) for bound in bounds):
        return False
    if version.prerelease is None:
        return True
    triple = (version.major, version.minor, version.patch)
    named = (b.version for b in bounds if b.version.prerelease is not None and b.version.prerelease != "0")
    return any((v.major, v.minor, v.patch) == triple for v in named)


def _bounds(comparator: str) -> list[_Bound]:
    found = _COMPARATOR.fullmatch(comparator)
    assert found is not None, "the model has checked it"  # noqa: S101
    operator, pre = found[1] or "=", found[5]
    numbers: list[int] = []
    for text in found.groups()[1:4]:
        if text is None or text in _ANY:
            break
        numbers.append(int(text))
    complete = len(numbers) == _NUMBERS
    low = _version(numbers).replace(prerelease=pre if complete else None)
    if not numbers:
        return [_Bound(low, below=True, strict=True)] if operator in {"<", ">"} else []
    above = _above(operator, numbers)
    at_least, below = _Bound(low, below=False, strict=False), _Bound(above, below=True, strict=True)
    match operator:
        case "=" | "^" | "~":
            exact = operator == "=" and complete
            return [at_least, _Bound(low, below=True, strict=False) if exact else below]
        case ">=":
            return [at_least]
        case "<":
            return [_Bound(low, below=True, strict=True)]
        case ">":
            return [_Bound(low, below=False, strict=True) if complete else _Bound(above, below=False, strict=False)]
        case _:
            return [_Bound(low, below=True, strict=False) if complete else below]


def _above(operator: str, numbers: list[int]) -> Version:
    """The first version above all versions that the numbers cover."""
    if operator == "^":
        first = next((at for at, number in enumerate(numbers) if number), len(numbers) - 1)
    elif operator == "~":
        first = min(len(numbers) - 1, 1)
    else:
        first = len(numbers) - 1
    return _version([*numbers[:first], numbers[first] + 1])


def _version(numbers: list[int]) -> Version:
    """The version of up to three numbers; the others are 0."""
    major, minor, patch = [*numbers, 0, 0, 0][:3]
    return Version(major, minor, patch)
