"""YAML scalars as kubectl reads them: what is plain text to another reader may be a number or a boolean to it.

The rules are those of sigs.k8s.io/yaml (`goyaml.v2/resolve.go`), which kubectl turns manifests into JSON with: `yes` is
true, `1e3` and `08` are numbers, `12:30` and a date are text.
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

_TAG = "tag:yaml.org,2002:"
_TRUE = frozenset(("y", "yes", "true", "on"))
_BOOL = re.compile(r"^(?:[yYnN]|yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$")
_NULL = re.compile(r"^(?:~|null|Null|NULL|)$")
_NUMBER = re.compile(
    r"^(?:[-+]?(?:0[bB][01_]+|0[oO][0-7_]+|0[xX][0-9a-fA-F_]+"
    r"|(?:\.[0-9][0-9_]*|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?)"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
_MERGE = re.compile(r"^<<$")
_FLOAT_DIGITS = 21  # Go writes a float below 10^21 without an exponent
_DIGITS = 300  # beyond them a number is infinite to the API server
_BASES = {"0b": 2, "0o": 8, "0x": 16}
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def number(text: str) -> int | float:
    """A plain scalar that is a number, as the JSON that kubectl makes of it has it.

    >>> [number(text) for text in ("017", "08", "0x1F", "-1_000", "1e3", "1.5")]
    [15, 8, 31, -1000, 1000, 1.5]

    Raises:
        ValueError: It is infinite or no number at all: JSON cannot express that.
    """
    plain = text.replace("_", "")
    sign, digits = (-1, plain[1:]) if plain[:1] == "-" else (1, plain.removeprefix("+"))
    if len(digits) > _DIGITS:
        raise ValueError("it has too many digits")
    base = _BASES.get(digits[:2].lower())
    if base is not None:
        return sign * int(digits[2:], base)
    if re.fullmatch(r"0[0-7]*", digits):
        return sign * int(digits, 8)
    if re.fullmatch(r"[1-9][0-9]*", digits):
        return sign * int(digits)
    value = sign * float(digits.replace(".", "", 1) if digits[:2] in {".i", ".I", ".n", ".N"} else digits)
    if not math.isfinite(value):
        raise ValueError(f"{text} cannot be expressed in JSON")
    return int(value) if value.is_integer() and abs(value) < 10**_FLOAT_DIGITS else value


class KubernetesLoader(_Loader):  # type: ignore[misc]  # which of the two it is depends on libyaml being there
    """A safe loader that resolves plain scalars as kubectl does."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {  # noqa: RUF012  the library's own shape
        **{first: [(f"{_TAG}bool", _BOOL)] for first in "yYtTfFoO"},
        **{first: [(f"{_TAG}float", _NUMBER)] for first in "0123456789+-."},
        **{first: [(f"{_TAG}bool", _BOOL), (f"{_TAG}null", _NULL)] for first in "nN"},
        "~": [(f"{_TAG}null", _NULL)],
        "": [(f"{_TAG}null", _NULL)],
        "<": [(f"{_TAG}merge", _MERGE)],
    }

    def construct_bool(self, node: yaml.ScalarNode) -> bool:
        """A boolean."""
        return str(self.construct_scalar(node)).lower() in _TRUE

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """A number.

        Raises:
            yaml.constructor.ConstructorError: It is none, or JSON has no such number.
        """
        try:
            return number(str(self.construct_scalar(node)))
        except ValueError as error:
            raise yaml.constructor.ConstructorError(None, None, f"is no number: {error}", node.start_mark) from error


KubernetesLoader.add_constructor(f"{_TAG}bool", KubernetesLoader.construct_bool)
KubernetesLoader.add_constructor(f"{_TAG}int", KubernetesLoader.construct_number)
KubernetesLoader.add_constructor(f"{_TAG}float", KubernetesLoader.construct_number)
KubernetesLoader.add_constructor(f"{_TAG}timestamp", KubernetesLoader.construct_yaml_str)
