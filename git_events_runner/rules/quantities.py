"""Quantities of Kubernetes as numbers: apimachinery/pkg/api/resource, "Quantity"."""

from __future__ import annotations

import re
from decimal import Decimal

_FORM = re.compile(r"(\d{1,18}(?:\.\d{1,9})?|\.\d{1,9})(?:(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)|[eE](\d{1,2}))?")
_DECIMAL = {name: 1000**power for power, name in enumerate("kMGTPE", start=1)}
_BINARY = {f"{name}i": 1024**power for power, name in enumerate("KMGTPE", start=1)}
_FACTORS = {"": Decimal(1), "m": Decimal("0.001")} | {n: Decimal(f) for n, f in (_DECIMAL | _BINARY).items()}


def quantity(text: str) -> Decimal | None:
    """The number of a quantity; None when it is none, or negative.

    >>> [str(quantity(text)) for text in ("1.5Gi", "100m", "2e3", "-1", "4GB")]
    ['1610612736.0', '0.100', '2000', 'None', 'None']
    """
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    number, suffix, exponent = found.groups()
    return Decimal(number) * (Decimal(10) ** int(exponent) if exponent else _FACTORS[suffix or ""])
