"""What a misspelt name was probably meant as."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def meant(given: str, known: Iterable[str], otherwise: str = "") -> str:
    """A "did you mean" for the known name that is most like the given one; `otherwise` where none is.

    >>> meant("kron", ["cron", "interval"]), meant("x", ["cron"], "known are cron")
    ('did you mean cron?', 'known are cron')
    """
    near = get_close_matches(given, list(known), n=1)
    return f"did you mean {near[0]}?" if near else otherwise
