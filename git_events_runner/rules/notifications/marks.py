"""What was reported of a Job, in its annotation `git-events-runner.rs/notified`: by the uid of the Notifier.

`uid=Succeeded` is a state that the receiver accepted; `uid=!Succeeded@3` one that it refused permanently, which is not
sent again until the Notifier has another generation than 3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

MARKS_MAX = 100  # of one Job: the annotation stays within what is kept of one
_MARK = re.compile(r"([0-9A-Za-z-]{1,64})=(!?[A-Za-z]{1,16}(?:@[0-9]{1,18})?)")
_TEXT_CHARS = 7000
_SUCCESS = ("Succeeded", "Recovered")


def marks_of(text: str | None) -> dict[str, str]:
    """The marks in an annotation; what is none is left out.

    >>> marks_of("u1=Started u2=!Failed@3 what")
    {'u1': 'Started', 'u2': '!Failed@3'}
    """
    parts = (text or "")[:_TEXT_CHARS].split(" ")
    found = (_MARK.fullmatch(part) for part in parts[:MARKS_MAX])
    return {match[1]: match[2] for match in found if match is not None}


def marks_text(marks: Mapping[str, str]) -> str:
    """The annotation with these marks, the newest if there are too many.

    >>> marks_text({"u1": "Started", "u2": "!Failed@3"})
    'u1=Started u2=!Failed@3'
    """
    return " ".join(f"{uid}={mark}" for uid, mark in list(marks.items())[-MARKS_MAX:])


def accepted(state: str) -> str:
    """The mark of a state that the receiver accepted."""
    return state


def refused(state: str, generation: int) -> str:
    """The mark of a state that the receiver of a Notifier of that generation refused."""
    return f"!{state}@{generation}"


def is_reported(mark: str | None, state: str, generation: int) -> bool:
    """Whether a state needs no message: it was accepted, or refused for the same Notifier.

    A success is one state, under both of its names: the failure before it may no longer be known later.

    >>> is_reported("Failed", "Failed", 1), is_reported("!Failed@1", "Failed", 1), is_reported("!Failed@1", "Failed", 2)
    (True, True, False)
    """
    names = _SUCCESS if state in _SUCCESS else (state,)
    return mark in {name for each in names for name in (accepted(each), refused(each, generation))}
